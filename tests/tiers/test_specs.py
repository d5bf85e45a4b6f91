"""Tiers, links and topologies as values: quantities, routes and the share of a host that a tier gets."""

import contextlib
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pytest_edgeai.tiers.allotment import allot
from pytest_edgeai.tiers.quantities import parse_quantity
from pytest_edgeai.tiers.specs import LinkSpec, TierSpec, Topology, paper_topology

from . import slow

UNITS = [
    *(("rate", unit, size) for unit, size in {"bit/s": 1, "kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9}.items()),
    *(("time", unit, size) for unit, size in {"s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}.items()),
    *(("memory", unit, size) for unit, size in {"B": 1, "kB": 1e3, "MiB": 2**20, "GiB": 2**30}.items()),
]


@given(
    unit=st.sampled_from(UNITS),
    number=st.floats(0, 1e12, allow_nan=False),
    space=st.sampled_from(["", " ", "  "]),
    write=st.sampled_from([str, "{:e}".format, "{:.3f}".format]),
)
def test_a_quantity_is_its_number_times_its_unit(
    unit: tuple[str, str, float], number: float, space: str, write: Any
) -> None:
    dimension, name, size = unit
    text = write(number)

    assert parse_quantity(f"{space}{text}{space}{name}{space}", dimension) == float(text) * size


@pytest.mark.parametrize(
    "text",
    ["200", "Mbit/s", "200 Mbps", "200 MiB", "-1 Mbit/s", "1,5 Mbit/s", "1 2 Mbit/s", "", 200, None, "nan Mbit/s"],
)
def test_what_is_no_number_with_a_unit_of_the_dimension_is_refused_with_the_units_there_are(text: object) -> None:
    with pytest.raises(ValueError, match=r"a number with a unit \(bit/s, kbit/s, Mbit/s, Gbit/s\)"):
        parse_quantity(text, "rate")


@given(text=st.text(max_size=20))
def test_any_text_is_a_quantity_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_quantity(text, "time") >= 0


@pytest.mark.parametrize("memory", ["0 GiB", "1e400 GB", "0.5 B"])
def test_memory_without_a_byte_or_without_an_end_is_refused(memory: str) -> None:
    with pytest.raises(ValidationError, match="memory"):
        TierSpec.model_validate({"cores": 1, "memory": memory})


@pytest.mark.parametrize("rate", ["0 Mbit/s", "999 bit/s", "2000 Gbit/s", "1e999 bit/s"])
def test_a_rate_that_no_link_can_be_given_is_refused(rate: str) -> None:
    with pytest.raises(ValidationError, match="rate"):
        LinkSpec.model_validate({"rate": rate})


@pytest.mark.parametrize(
    "url", ["http://phone", "http://10.0.0.7:8000", "http://tier.example.org:80/", "http://[::1]:8000"]
)
def test_a_tier_elsewhere_has_an_http_address(url: str) -> None:
    assert TierSpec.model_validate({"cores": 1, "memory": "1 GiB", "url": url}).url == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://phone:0", "expected http://HOST, https://HOST or either with :PORT"),
        ("http://phone:99999", "expected http://HOST, https://HOST or either with :PORT"),
        ("http://phone:0", "expected http://HOST"),
        ("http://phone/v2", "expected http://HOST"),
        ("http://me@phone", "expected http://HOST"),
        ("phone:8000", "expected http://HOST"),
    ],
)
def test_an_address_that_cannot_be_spoken_to_is_refused_in_a_sentence(url: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TierSpec.model_validate({"cores": 1, "memory": "1 GiB", "url": url})


NAMES = ["mobile", "edge", "cloud", "fog", "car", "hub"]


def _topology(origin: str, tiers: list[str], links: list[str]) -> Topology:
    return Topology.model_validate(
        {
            "origin": origin,
            "tiers": {name: {"cores": 1, "memory": "1 GiB"} for name in tiers},
            "links": {name: {"rate": "1 Mbit/s"} for name in links},
        }
    )


@given(data=st.data())
def test_a_route_is_a_way_over_declared_links_and_none_is_shorter(data: st.DataObject) -> None:
    tiers = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    pairs = [f"{one}-{other}" for one, other in itertools.combinations(tiers, 2)]
    chosen = data.draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    links = ["-".join(reversed(link.split("-"))) if data.draw(st.booleans()) else link for link in chosen]
    origin = data.draw(st.sampled_from(tiers))
    distance = slow.distances(tiers, links, origin)

    if max(distance.values()) == float("inf"):
        with pytest.raises(ValidationError, match="no link leads from"):
            _topology(origin, tiers, links)
        return
    topology = _topology(origin, tiers, links)

    for tier in tiers:
        route = topology.route(tier)
        stops = [origin, *(hop.far for hop in route)]
        assert len(route) == distance[tier]
        assert stops[-1] == tier
        assert [hop.near for hop in route] == stops[:-1]
        for hop in route:
            assert hop.name in links or f"{hop.far}-{hop.near}" in links


def test_a_hop_takes_its_link_whichever_end_is_named_first() -> None:
    topology = _topology("edge", ["mobile", "edge"], ["mobile-edge"])

    (hop,) = topology.route("mobile")

    assert (hop.near, hop.far, hop.name) == ("edge", "mobile", "edge-mobile")


def test_each_node_has_a_way_of_its_own_over_the_links_to_its_tier() -> None:
    topology = _topology("mobile", ["mobile", "edge", "cloud"], ["mobile-edge", "edge-cloud"])

    assert [hop.name for hop in topology.way_to_node("cloud", 2)] == ["mobile-edge[2]", "edge[2]-cloud[2]"]
    assert [hop.tiers for hop in topology.way_to_node("cloud", 2)] == ["mobile-edge", "edge-cloud"]
    assert [hop.link for hop in topology.way_to_node("cloud", 2)] == [hop.link for hop in topology.route("cloud")]
    assert topology.way_to_node("mobile", 2) == ()


def test_the_origins_link_with_itself_leads_to_its_nodes_and_changes_nothing_else() -> None:
    tiers = ["mobile", "edge", "cloud"]
    without = _topology("mobile", tiers, ["mobile-edge", "edge-cloud"])
    among = _topology("mobile", tiers, ["mobile-mobile", "mobile-edge", "edge-cloud"])

    assert [hop.name for hop in among.way_to_node("mobile", 1)] == ["mobile-mobile[1]"]
    for tier in tiers:
        assert [hop.name for hop in among.route(tier)] == [hop.name for hop in without.route(tier)]


@pytest.mark.parametrize(
    ("tiers", "links", "said"),
    [
        (["mobile", "edge"], ["mobile-edge", "edge-mobile"], "given twice"),
        (["mobile", "edge"], ["mobile"], "named by two tiers"),
        (["mobile", "edge"], ["mobile-edge", "edge-edge"], "only the origin's nodes have one, mobile-mobile"),
        (["mobile", "edge"], ["mobile-fog"], "named by two tiers"),
        (["mobile", "edge"], [], "no link leads from 'mobile' to tier 'edge'"),
        (["edge"], [], "origin: there is no tier 'mobile'"),
        (["mobile", "Edge 2"], ["mobile-edge"], "small letters"),
    ],
)
def test_a_topology_that_does_not_hang_together_is_refused(tiers: list[str], links: list[str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        _topology("mobile", tiers, links)


specs = st.builds(
    lambda cores, gib: TierSpec.model_validate({"cores": cores, "memory": f"{gib} GiB"}),
    st.floats(0.1, 256),
    st.integers(1, 256),
)


@given(
    tiers=st.dictionaries(st.sampled_from(NAMES), specs, min_size=1),
    host_cores=st.integers(1, 512),
    memory=st.integers(2**28, 2**42),
)
def test_allotments_keep_the_ratio_of_cores_and_of_memory(
    tiers: dict[str, TierSpec], host_cores: int, memory: int
) -> None:
    allotments = allot(tiers, host_cores, memory)

    for one, other in itertools.combinations(tiers, 2):
        first, second = allotments[one], allotments[other]
        speeds = (first.cores / first.compute_scale) / (second.cores / second.compute_scale)
        assert speeds == pytest.approx(tiers[one].cores / tiers[other].cores)
        share = first.memory_bytes / second.memory_bytes
        assert share == pytest.approx(tiers[one].memory_bytes / tiers[other].memory_bytes, rel=1e-6)
    for name, allotment in allotments.items():
        assert 1 <= allotment.cores <= host_cores
        assert allotment.threads == allotment.cores
        assert allotment.compute_scale >= 1
        assert allotment.memory_bytes <= min(memory, tiers[name].memory_bytes)


@given(host_cores=st.integers(17, 512))
def test_a_host_with_more_cores_than_the_largest_tier_gives_every_tier_its_own_number(host_cores: int) -> None:
    allotments = allot(Topology.model_validate(paper_topology()).tiers, host_cores, 2**40)

    assert {name: (one.cores, one.compute_scale) for name, one in allotments.items()} == {
        "mobile": (4, 1),
        "edge": (8, 1),
        "cloud": (16, 1),
    }


def test_two_cores_are_one_for_the_tiers_and_one_for_the_client() -> None:
    allotments = allot(Topology.model_validate(paper_topology()).tiers, 2, 8 * 2**30)

    assert {name: (one.cores, one.compute_scale) for name, one in allotments.items()} == {
        "mobile": (1, 4),
        "edge": (1, 2),
        "cloud": (1, 1),
    }


def test_a_tier_that_lost_cores_by_rounding_slows_the_others_down_with_it() -> None:
    allotments = allot(Topology.model_validate(paper_topology()).tiers, 6, 2**40)

    assert {name: (one.cores, one.compute_scale) for name, one in allotments.items()} == {
        "mobile": (1, 1),
        "edge": (2, 1),
        "cloud": (5, 1.25),
    }


def test_a_declared_scale_and_number_of_threads_hold() -> None:
    tiers = {"mobile": TierSpec.model_validate({"cores": 4, "memory": "1 GiB", "compute_scale": 1, "threads": 3})}

    allotment = allot(tiers, 2, 2**40)["mobile"]

    assert (allotment.compute_scale, allotment.threads) == (1, 3)


def test_the_way_of_a_chain_leads_from_the_origin_over_each_of_its_tiers() -> None:
    topology = Topology.model_validate(paper_topology())
    names = [hop.name for hop in topology.way(("edge", "cloud"))]
    assert names == ["mobile-edge", "edge-cloud"]
    assert [hop.name for hop in topology.way(("mobile", "cloud"))] == names
    assert topology.way(("mobile",)) == ()
    assert topology.way(("cloud",)) == topology.route("cloud")


@pytest.mark.parametrize("tiers", [("edge", "mobile"), ("cloud", "edge"), ("edge", "edge")])
def test_a_chain_that_comes_to_a_tier_twice_has_no_way(tiers: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="twice"):
        Topology.model_validate(paper_topology()).way(tiers)
