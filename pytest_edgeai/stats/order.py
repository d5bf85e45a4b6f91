"""In which order operators and tiers stand in tables, and which placements are chains of tiers."""

from collections.abc import Collection, Iterable, Sequence

from pytest_edgeai.partition.cut_numbers import family_of, numbers_of

# The paper's order.
OPERATORS = (
    "identity",
    "sptq",
    "qat",
    "pruned",
    "distilled",
    "dsptq",
    "partition",
    "sptq_partition",
)
TIERS = ("mobile", "edge", "cloud")


def chain_of(placement: str, tiers: Collection[str] = TIERS) -> tuple[str, ...]:
    """Return the tiers that a placement's parts run on.

    Parameters
    ----------
    placement : str
        A tier, or tiers joined by `+` (`mobile+edge`), or known tiers joined by `_` (`mobile_edge`, as
        published).
    tiers : collection of str
        The known tiers; a name with an underscore that is not made of these (`jetson_nano`) is one tier.

    Returns
    -------
    tuple of str
        One tier for a plain placement, several for a chain.
    """
    if "+" in placement:
        return tuple(placement.split("+"))
    parts = tuple(placement.split("_"))
    if placement not in tiers and all(part in tiers for part in parts):
        return parts
    return (placement,)


def ordered_operators(names: Iterable[str]) -> list[str]:
    """Return the distinct operators, the paper's first in its order, then the others as they appear.

    Those for single cuts (`partition.3`) stand where `partition` does, in the order of their numbers.

    Parameters
    ----------
    names : iterable of str
        Operators, with repetitions.

    Returns
    -------
    list of str
        Each once.
    """
    distinct = list(dict.fromkeys(names))
    families = _known_first(map(family_of, distinct), OPERATORS)
    return sorted(distinct, key=lambda name: (families.index(family_of(name)), numbers_of(name)))


def ordered_placements(names: Iterable[str]) -> list[str]:
    """Return the distinct placements: mobile, edge, cloud, other tiers as they first appear, then chains.

    Parameters
    ----------
    names : iterable of str
        Placements, with repetitions.

    Returns
    -------
    list of str
        Each once. Chains are ordered by their tiers, one after the other.
    """
    distinct = list(dict.fromkeys(names))
    tiers = _known_first((name for name in distinct if len(chain_of(name)) == 1), TIERS)
    rank = {tier: index for index, tier in enumerate(dict.fromkeys([*TIERS, *tiers]))}
    chains = [name for name in distinct if len(chain_of(name)) > 1]
    # An unknown tier that occurs in chains only stands behind those that were measured alone.
    chains.sort(key=lambda name: [rank.get(part, len(rank)) for part in chain_of(name)])
    return tiers + chains


def is_chain(placement: str) -> bool:
    """Say whether a placement runs on more than one tier.

    Parameters
    ----------
    placement : str
        See `chain_of`.

    Returns
    -------
    bool
        True for `mobile+edge` and `mobile_edge`, False for `mobile` and `jetson_nano`.
    """
    return len(chain_of(placement)) > 1


def _known_first(names: Iterable[str], known: Sequence[str]) -> list[str]:
    distinct = dict.fromkeys(names)
    return [name for name in known if name in distinct] + [name for name in distinct if name not in known]
