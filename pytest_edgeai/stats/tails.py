"""Upper tails of chi-squared and Student's t, with base-10 logarithms that stay finite where p underflows.

`scipy.stats.chi2.logsf` and `t.logsf` are the logarithm of a tail that is already 0.0 below 1e-308. Down to
`_SMALL` the tails here are scipy's; below it their logarithm is a prefactor in logarithms plus a continued
fraction.
"""

import math
from collections.abc import Callable

# Below this a double starts to lose digits to denormals, and how it does differs between platforms.
_SMALL = 1e-290
_LN10 = math.log(10.0)
# Lentz's method replaces a vanishing denominator by this.
_TINY = 1e-300


def chi2_tail(x: float, df: float) -> tuple[float, float]:
    """Upper tail of the chi-squared distribution, and its logarithm.

    Parameters
    ----------
    x : float
        The statistic, x >= 0; infinity is allowed.
    df : float
        Degrees of freedom, df > 0.

    Returns
    -------
    p : float
        P(X >= x); 0.0 where that underflows.
    log10_p : float
        Its base-10 logarithm, finite for every finite `x`.

    Notes
    -----
    p = Q(df/2, x/2), the regularized upper incomplete gamma function, from scipy. Where p is below 1e-290,
    its logarithm is -x/2 + a ln(x/2) - ln Gamma(a) plus the logarithm of the continued fraction DLMF 8.9.2, a
    = df/2.

    References
    ----------
    NIST Digital Library of Mathematical Functions, https://dlmf.nist.gov/8.9.E2.
    """
    from scipy import special

    a, z = df / 2.0, x / 2.0
    p = float(special.gammaincc(a, z))
    if p >= _SMALL:
        return p, _log10(p, float(special.gammainc(a, z)))
    if math.isinf(z):
        return 0.0, -math.inf

    # The fraction, contracted: 1/(z+1-a - 1(1-a)/(z+3-a - 2(2-a)/(z+5-a - ...))).
    fraction = _lentz(lambda i: 1.0 if i == 1 else -(i - 1) * (i - 1 - a), lambda i: z + 2 * i - 1 - a)
    return p, (-z + a * math.log(z) - math.lgamma(a) + math.log(fraction)) / _LN10


def t_two_sided(t: float, df: float) -> tuple[float, float]:
    """Both tails of Student's t distribution, and their logarithm.

    Parameters
    ----------
    t : float
        The statistic, of either sign; infinity is allowed.
    df : float
        Degrees of freedom, df > 0.

    Returns
    -------
    p : float
        P(abs(T) >= abs(t)); 0.0 where that underflows.
    log10_p : float
        Its base-10 logarithm, finite for every finite `t`.

    Notes
    -----
    p = I_x(df/2, 1/2) with x = df / (df + t^2), the regularized incomplete beta function, from scipy. Where p
    is below 1e-290 its logarithm is that of x^a (1-x)^b / (a B(a, b)) plus that of the continued fraction
    DLMF 8.17.22.

    References
    ----------
    NIST Digital Library of Mathematical Functions, https://dlmf.nist.gov/8.17.E22.
    """
    from scipy import special

    t = abs(t)
    p = 2.0 * float(special.stdtr(df, -t))
    if p >= _SMALL:
        return p, _log10(p, float(special.betainc(0.5, df / 2.0, t * t / (df + t * t))))
    if math.isinf(t):
        return 0.0, -math.inf

    a, b = df / 2.0, 0.5
    ratio = t / math.sqrt(df)
    x = 1.0 / (1.0 + ratio * ratio)

    def numerator(i: int) -> float:
        if i == 1:
            return 1.0
        m, odd = divmod(i - 1, 2)
        if odd:
            return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))

    fraction = _lentz(numerator, lambda _: 1.0)
    log_x = -math.log1p(ratio * ratio) if ratio < 1e8 else -2.0 * math.log(ratio)
    log_p = a * log_x + b * math.log1p(-x) - math.log(a) - float(special.betaln(a, b)) + math.log(fraction)
    return p, log_p / _LN10


def _log10(p: float, complement: float) -> float:
    """Logarithm of `p`, from 1 - `p` where that is the smaller, so that a p next to 1 keeps its digits."""
    log_p = math.log(p) if p < 0.5 else math.log1p(-complement)
    return log_p / _LN10 + 0.0  # -0.0 becomes 0.0


def _lentz(numerator: Callable[[int], float], denominator: Callable[[int], float]) -> float:
    """Sum up a1/(b1 + a2/(b2 + ...)) by Lentz's method as modified by Thompson and Barnett (1986)."""
    value = c = _TINY
    d = 0.0
    for i in range(1, 1_000_000):
        a, b = numerator(i), denominator(i)
        d = 1.0 / ((b + a * d) or _TINY)
        c = (b + a / c) or _TINY
        value *= c * d
        if i > 1 and abs(c * d - 1.0) < 1e-15:
            break
    return value
