"""The methods, in one literal dict. A method added here appears in the command line, the form and the docs.

What they compute stands in `fnkd_core.kd.classic` and `fnkd_core.kd.recent`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from fnkd_core.kd.classic import (
    alsd,
    ce,
    ctkd,
    dkd,
    dtkd,
    fn,
    he,
    kd,
    lsd,
    lskd,
    normkd,
    skd,
    wttm,
)
from fnkd_core.kd.losses import Objective
from fnkd_core.kd.recent import dist, nd, nkd, rld, wkd

COUPLES = "A sample's loss depends on its batch, so on the batch size."

ONE_TEACHER = "It reads more of its teacher than probabilities, so it takes one teacher."


@dataclass(frozen=True)
class Method:
    """A method's function and what people read about it. `formula` is LaTeX.

    couples_batch: a sample's loss depends on the others of its batch, whose logits and norms it reads.
    one_teacher: the soft term reads more of its teacher than the softened probabilities, so that it has no meaning for
    the mean of several teachers'.
    """

    build: Callable[..., Objective]
    title: str
    formula: str
    source: str
    needs_teacher: bool = False
    couples_batch: bool = False
    one_teacher: bool = False

    @property
    def summary(self) -> str:
        """The first line of its function's docstring, and that it couples the batch or takes one teacher."""
        said = (inspect.getdoc(self.build) or "").splitlines()[0]
        return " ".join([said, *[COUPLES] * self.couples_batch, *[ONE_TEACHER] * self.one_teacher])


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
    "skd": Method(
        skd,
        "Spherical distillation",
        r"(1-\alpha)\,H(q,\, s(\hat v_S)) + \alpha T^2\, \mathrm{KL}\left(s(\hat v_T/T),\; s(\hat v_S/T)\right),"
        r"\; \hat v = m\,(v - \bar v)/\mathrm{std}(v)",
        "Guo et al., 2020",
        needs_teacher=True,
    ),
    "dtkd": Method(
        dtkd,
        "Dynamic temperature distillation",
        r"H(q,\, s(v_S)) + \alpha T_i^T T_i^S\, \mathrm{KL}\left(s(v_T/T_i^T),\; s(v_S/T_i^S)\right)"
        r" + \beta T^2\, \mathrm{KL}(T),\; T_i^T = \frac{2T\max v_T}{\max v_T + \max v_S}",
        "Wei and Bai, 2024",
        needs_teacher=True,
        one_teacher=True,
    ),
    "wttm": Method(
        wttm,
        "Weighted transformed teacher matching",
        r"H(q,\, s(v_S)) + \beta \left(\textstyle\sum_k s_k(v_T)^{1/T}\right)"
        r" \mathrm{KL}\left(s(v_T/T),\; s(v_S)\right)",
        "Zheng and Yang, ICLR 2024",
        needs_teacher=True,
        one_teacher=True,
    ),
    "ctkd": Method(
        ctkd,
        "Curriculum temperature distillation",
        r"(1-\alpha)\,H(q,\, s(v_S)) + \alpha T^2\, \mathrm{KL}\left(s(v_T/T),\; s(v_S/T)\right),"
        r"\; T = T_0 + r\,\sigma(\theta)",
        "Li et al., AAAI 2023",
        needs_teacher=True,
    ),
    "dkd": Method(
        dkd,
        "Decoupled distillation",
        r"H(q,\, s(v_S)) + T^2 \left(\alpha\,\mathrm{TCKD} + \beta\,\mathrm{NCKD}\right)",
        "Zhao et al., CVPR 2022",
        needs_teacher=True,
    ),
    "nkd": Method(
        nkd,
        "Normalized distillation",
        r"H(q,\, s(v_S)) - s_y(v_T) \log s_y(v_S)"
        r" + \beta T^2\, H\left(\hat s(v_T/T),\; \hat s(v_S/T)\right), \; \hat s = s_{k \ne y} / (1 - s_y)",
        "Yang et al., ICCV 2023",
        needs_teacher=True,
    ),
    "rld": Method(
        rld,
        "Refined logit distillation",
        r"H(q,\, s(v_S)) + \alpha T^2\, \mathrm{KL}\left(\max s(v_T/T),\; s_y(v_S/T)\right)"
        r" + \beta T^2\, \mathrm{KL}_{\{k:\, v_{T,k} < v_{T,y}\}}\left(s(v_T/T),\; s(v_S/T)\right)",
        "Sun et al., ICCV 2025",
        needs_teacher=True,
    ),
    "dist": Method(
        dist,
        "Distillation of relations",
        r"H(q,\, s(v_S)) + T^2 \left(w_r\, (1 - \rho_{\mathrm{rows}})"
        r" + w_c\, (1 - \rho_{\mathrm{columns}})\right) \text{ of } s(v_T/T),\; s(v_S/T)",
        "Huang et al., NeurIPS 2022",
        needs_teacher=True,
        couples_batch=True,
    ),
    "nd": Method(
        nd,
        "Norm and direction",
        r"H(q,\, s(v_S)) + \alpha T^2\, H\left(s(v_T/T),\; s(v_S/T)\right) + \beta \left(1 - \frac{\langle f_S,"
        r"\, e_y \rangle}{\max(\lVert f_S\rVert, \lVert f_T\rVert)}\right), \; e_y = \bar f_T(y)/\lVert\cdot\rVert",
        "Wang et al., ECCV 2024",
        needs_teacher=True,
        one_teacher=True,
    ),
    "wkd": Method(
        wkd,
        "Transport between classes",
        r"H(q,\, s(v_S)) - s_y(v_T) \log s_y(v_S) + w \,\langle P, C\rangle, \; P: \hat s(v_T/T) \to \hat s(v_S/T),"
        r"\; C_{ij} = 1 - e^{-\kappa d_{ij}}",
        "Lv et al., NeurIPS 2024",
        needs_teacher=True,
        one_teacher=True,
    ),
    "he": Method(
        he,
        "Hypersphere embedding",
        r"H(q,\, s(s\cos\theta - s\,m\,q))",
        "Pang et al., NeurIPS 2020; Wang et al., CVPR 2018",
    ),
}
