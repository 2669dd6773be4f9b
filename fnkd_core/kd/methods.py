"""The methods, in one literal dict. A method added here appears in the command line, the form and the docs.

A method is a short function from its parameters to an `Objective`. The signature is the only place where
a parameter's default, range and help are written.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fnkd_core.errors import UserError, require, unknown
from fnkd_core.kd.decoupled import Decoupled
from fnkd_core.kd.losses import Objective, StudentNorm
from fnkd_core.kd.targets import Smoothed, SmoothedSimilar, Softened
from fnkd_core.kd.temperature import Constant, FeatureNorm, LogitStd

SimilarClasses = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Range:
    """Bounds, step and help of a number. `open_low`: the lower bound itself is not allowed.

    mean_norm_share: where the parameter is left open, it is this share of the teacher's mean ||f|| on
    the training set.
    """

    help: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    open_low: bool = False
    mean_norm_share: float | None = None


@dataclass(frozen=True)
class Help:
    """What a choice or a switch does."""

    help: str


@dataclass(frozen=True)
class Parameter:
    """One parameter of a method, as forms and the command line need it."""

    name: str
    kind: Literal["float", "bool", "choice"]
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    range: Range | None = None

    def check(self, value: Any) -> Any:
        """`value` as this parameter's type. `UserError` names value, constraint and remedy."""
        if value is None and self.default is None:
            return None
        if self.kind == "bool":
            require(isinstance(value, bool), f"{self.name} must be true or false, got {value!r}.")
            return value
        if self.kind == "choice":
            require(value in self.choices, f"{self.name} must be one of {', '.join(self.choices)}, got {value!r}.")
            return value
        require(
            isinstance(value, int | float) and not isinstance(value, bool) and value == value,
            f"{self.name} must be a number, got {value!r}.",
        )
        bounds = self.range
        if bounds is not None and bounds.low is not None:
            fits = value > bounds.low if bounds.open_low else value >= bounds.low
            require(fits, f"{self.name} must be {'>' if bounds.open_low else '>='} {bounds.low:g}, got {value}.")
        if bounds is not None and bounds.high is not None:
            require(value <= bounds.high, f"{self.name} must be <= {bounds.high:g}, got {value}.")
        return float(value)


Weight = Annotated[float, Range("Share of the soft term; the hard term has the rest.", 0, 1, 0.05)]


def ce() -> Objective:
    """Cross-entropy with one-hot labels: the student alone."""
    return Objective()


def lsd(
    epsilon: Annotated[float, Range("Mass given evenly to all classes.", 0, 1, 0.01)] = 0.1,
) -> Objective:
    """Label smoothing: gives back an even share to every class. No teacher."""
    return Objective(targets=Smoothed(epsilon))


def alsd(
    epsilon_uniform: Annotated[float, Range("Mass given evenly to all classes.", 0, 1, 0.01)] = 0.05,
    epsilon_similar: Annotated[float, Range("Mass given to the classes similar to the label.", 0, 1, 0.01)] = 0.05,
    *,
    similar: SimilarClasses,
) -> Objective:
    """Anisotropic label smoothing: gives back more to classes with similar names. No teacher."""
    return Objective(targets=SmoothedSimilar(epsilon_uniform, epsilon_similar, similar))


def kd(
    T: Annotated[float, Range("Temperature, the same for every sample.", 0, step=0.5, open_low=True)] = 4.0,
    alpha: Weight = 0.9,
    t_squared: Annotated[bool, Help("Multiply the soft term by T², as the field's code does.")] = True,
) -> Objective:
    """Knowledge distillation: learns the shares from a teacher softened by one temperature."""
    rule = Constant(T)
    return Objective(
        hard_weight=1 - alpha,
        soft=Softened(rule),
        soft_weight=alpha,
        temperature=rule,
        t_squared=t_squared,
    )


def fn(
    tau: Annotated[
        float | None,
        Range(
            "Sets T_i = ‖f_i‖/τ. Left empty: a quarter of the teacher's mean ‖f‖, comparable to T = 4.",
            0,
            step=0.1,
            open_low=True,
            mean_norm_share=0.25,
        ),
    ] = None,
    lambda_: Annotated[
        float, Range("The soft term has weight λ². λ²τ²/mean‖f‖² near 1 is the rule.", 0, step=0.5)
    ] = 3.0,
    variant: Annotated[
        Literal["paper", "released"],
        Help("paper: softmax(τv/‖f‖). released: T_i = max(1, ‖f‖/τ), the feature is scaled and the bias is not."),
    ] = "paper",
    student_norm: Annotated[
        StudentNorm,
        Help("Whose ‖f‖ softens the student: its own (gradient flows), the same detached, or the teacher's."),
    ] = "own",
) -> Objective:
    """Feature normalized distillation: a temperature for each sample, set by its feature norm."""
    if tau is None:
        raise UserError("tau is open; it needs the teacher's mean feature norm. Give tau a value.")
    released = variant == "released"
    rule = FeatureNorm(tau, floor=1.0 if released else 0.0)
    return Objective(
        soft=Softened(rule, through_head=released),
        soft_weight=lambda_**2,
        temperature=rule,
        student_norm=student_norm,
    )


def normkd(
    t: Annotated[float, Range("Sets T_i = t·std(v_i), over the classes.", 0, step=0.5, open_low=True)] = 2.0,
    alpha: Weight = 0.9,
) -> Objective:
    """Normalized logits: each side's temperature is its own logits' spread, weighted by the teacher's squared."""
    rule = LogitStd(t)
    return Objective(
        hard_weight=1 - alpha,
        soft=Softened(rule),
        soft_weight=alpha,
        temperature=rule,
        t_squared=True,
        divergence="kl",
    )


def lskd(
    T: Annotated[float, Range("Temperature of the standardised logits.", 0, step=0.5, open_low=True)] = 2.0,
    hard: Annotated[float, Range("Weight of the hard term.", 0, step=0.1)] = 0.1,
    soft: Annotated[float, Range("Weight of the soft term, before T².", 0, step=1)] = 9.0,
) -> Objective:
    """Logit standardization: both sides' logits as z-scores, so that only their order and ratios are learnt."""
    rule = LogitStd(T)
    return Objective(
        hard_weight=hard,
        soft=Softened(rule),
        soft_weight=soft * T**2,
        temperature=rule,
        divergence="kl",
    )


def dkd(
    T: Annotated[float, Range("Temperature, the same for every sample.", 0, step=0.5, open_low=True)] = 4.0,
    alpha: Annotated[float, Range("Weight of the part on the label.", 0, step=0.5)] = 1.0,
    beta: Annotated[float, Range("Weight of the part on the other classes.", 0, step=0.5)] = 2.0,
) -> Objective:
    """Decoupled distillation: what the teacher says of the other classes counts the same however sure it is."""
    rule = Constant(T)
    return Objective(
        soft=Softened(rule),
        soft_weight=1.0,
        temperature=rule,
        t_squared=True,
        divergence=Decoupled(alpha, beta),
    )


def he(
    scale: Annotated[float, Range("s in s·cos θ; what ‖f‖‖W‖ is for other heads.", 0, step=1, open_low=True)] = 16.0,
    margin: Annotated[float, Range("Subtracted from the label's cosine while training.", 0, 1, 0.05)] = 0.0,
) -> Objective:
    """Hypersphere embedding: f and W both normalised, so that only angles count. No teacher."""
    return Objective(cosine_scale=scale, margin=margin)


@dataclass(frozen=True)
class Method:
    """A method's function and what people read about it. `formula` is LaTeX."""

    build: Callable[..., Objective]
    title: str
    formula: str
    source: str
    needs_teacher: bool = False

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.build) or "").splitlines()[0]


METHODS: dict[str, Method] = {
    "ce": Method(ce, "Cross-entropy", r"H(q,\, s(v_S))", "one-hot baseline"),
    "lsd": Method(
        lsd,
        "Label smoothing",
        r"H\left((1-\varepsilon)\,q + \varepsilon u,\; s(v_S)\right)",
        "Szegedy et al., CVPR 2016",
    ),
    "alsd": Method(
        alsd,
        "Anisotropic label smoothing",
        r"H\left((1-\varepsilon_1-\varepsilon_2)\,q + \varepsilon_1 u + \varepsilon_2 \rho,\; s(v_S)\right)",
        "Xu et al., ECCV 2020",
    ),
    "kd": Method(
        kd,
        "Knowledge distillation",
        r"(1-\alpha)\,H(q,\, s(v_S)) + \alpha T^2\, H\left(s(v_T/T),\; s(v_S/T)\right)",
        "Hinton et al., 2015",
        needs_teacher=True,
    ),
    "fn": Method(
        fn,
        "Feature normalized distillation",
        r"H(q,\, s(v_S)) + \lambda^2 H\left(s(\tau v_T/\lVert f_T\rVert),\; s(\tau v_S/\lVert f_S\rVert)\right)",
        "Xu et al., ECCV 2020",
        needs_teacher=True,
    ),
    "normkd": Method(
        normkd,
        "Normalized logit distillation",
        r"(1-\alpha)\,H(q,\, s(v_S)) + \alpha T_i^2\, \mathrm{KL}\left(s(v_T/T_i),\; s(v_S/T_i^S)\right),"
        r"\; T_i = t\,\mathrm{std}(v)",
        "Chi et al., 2023",
        needs_teacher=True,
    ),
    "lskd": Method(
        lskd,
        "Logit standardization distillation",
        r"w_h H(q,\, s(v_S)) + w_s T^2\, \mathrm{KL}\left(s(z(v_T)/T),\; s(z(v_S)/T)\right),"
        r"\; z(v) = (v - \bar v)/\mathrm{std}(v)",
        "Sun et al., CVPR 2024",
        needs_teacher=True,
    ),
    "dkd": Method(
        dkd,
        "Decoupled distillation",
        r"H(q,\, s(v_S)) + T^2 \left(\alpha\,\mathrm{TCKD} + \beta\,\mathrm{NCKD}\right)",
        "Zhao et al., CVPR 2022",
        needs_teacher=True,
    ),
    "he": Method(
        he,
        "Hypersphere embedding",
        r"H(q,\, s(s\cos\theta - s\,m\,q))",
        "Pang et al., NeurIPS 2020; Wang et al., CVPR 2018",
    ),
}


def method(name: str) -> Method:
    """The method of this name. `UserError` lists those there are."""
    if name not in METHODS:
        raise unknown("method", name, sorted(METHODS))
    return METHODS[name]


def parameters(name: str) -> tuple[Parameter, ...]:
    """The parameters of a method, read from its signature, in its order.

    A trailing underscore is dropped (`lambda_` is the parameter `lambda`). Keyword-only arguments come
    from the data set, not from the user, and are left out.
    """
    build = method(name).build
    hints = typing.get_type_hints(build, include_extras=True)
    found = []
    for argument in inspect.signature(build).parameters.values():
        if argument.kind is inspect.Parameter.KEYWORD_ONLY:
            continue
        annotation, note = typing.get_args(hints[argument.name])[:2]
        choices = typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()
        found.append(
            Parameter(
                name=argument.name.rstrip("_"),
                kind="choice" if choices else "bool" if annotation is bool else "float",
                default=argument.default,
                help=note.help,
                choices=choices,
                range=note if isinstance(note, Range) else None,
            )
        )
    return tuple(found)


def complete(name: str, given: Mapping[str, Any], mean_norm: float | None = None) -> dict[str, Any]:
    """Every parameter of the method with a checked value: those given, else the defaults.

    mean_norm: the teacher's mean ||f|| on the training set, from which an open tau is set; without it an
    open parameter stays None. `UserError` for an unknown name or a value out of range.
    """
    known = {parameter.name: parameter for parameter in parameters(name)}
    for key in given:
        if key not in known:
            raise unknown(f"parameter of method {name!r}", key, known)
    values = {}
    for key, parameter in known.items():
        value = parameter.check(given.get(key, parameter.default))
        share = parameter.range.mean_norm_share if parameter.range else None
        values[key] = share * mean_norm if value is None and share and mean_norm else value
    return values


def objective(name: str, values: Mapping[str, Any], **context: Any) -> Objective:
    """The objective of a method with these parameters.

    context: what comes from the data set (`similar`, the classes similar to each class); the method takes
    what its signature names.
    """
    build = method(name).build
    arguments = inspect.signature(build).parameters
    from_user = {key if key in arguments else f"{key}_": value for key, value in complete(name, values).items()}
    wanted = {key for key, argument in arguments.items() if argument.kind is inspect.Parameter.KEYWORD_ONLY}
    return build(**from_user, **{key: value for key, value in context.items() if key in wanted})
