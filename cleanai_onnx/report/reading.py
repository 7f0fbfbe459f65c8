"""How to read a report: words, limits and references, for every format that explains itself."""

from __future__ import annotations

__all__ = ["LIMITS", "REFERENCES", "TERMS"]

TERMS: tuple[tuple[str, str], ...] = (
    (
        "Layer",
        "An activation tensor of the ONNX graph, in graph order. Its name is the tensor's; where "
        "the exporter left a module path, that is shown.",
    ),
    (
        "Unit",
        "One scalar of a layer's output for one input: element (channel, row, column). CleanAI "
        "calls it a neuron.",
    ),
    (
        "Channel",
        "One feature map, or one feature of a vector; its value is the spatial mean. DeepXplore, "
        "DeepGauge and importance-driven coverage call this a neuron.",
    ),
    (
        "View",
        "What a metric counts: units or channels. The two give different figures under the same "
        "name, so every number in this report says which it is.",
    ),
    (
        "Per input",
        "Metrics without “suite” in their name (nc, tc, tknc, mnc) count for each image and add "
        "up over the images: an average, which more images do not raise.",
    ),
    (
        "Pair",
        "sc, vc and the interaction metrics ss, sv, vs, vv compare two images, named in the "
        "parameters. The interaction metrics count pairs of neurons of adjacent layers.",
    ),
    (
        "Suite",
        "Metrics with “suite” in their name count what at least one image, or pair of images, "
        "covered: a union, which more images can only raise. Literature reports these.",
    ),
    (
        "Dead",
        "A channel of which no unit was above zero on any of the images. It may respond to "
        "something that these images lack.",
    ),
)
"""Each word of the report and its meaning."""

LIMITS: tuple[str, ...] = (
    "Structural coverage of a neural network shows which parts of it the test images exercised. "
    "Low coverage is a finding: some internal states were never tested. High coverage is none: it "
    "does not show that the outputs are right, and it does not replace accuracy, robustness or "
    "safety evidence.",
    "The value of these metrics is contested. Harel-Canada et al. [1] found that raising neuron "
    "coverage did not help to find defects and led to less natural inputs and more biased "
    "predictions. Li et al. [2] showed that structural criteria can be misleading: the coverage "
    "of natural inputs has little to do with the number of errors found. Yan et al. [3] ask "
    "whether coverage grows with a model's quality, as it does for code, and show that this cannot "
    "be taken for granted; Dong et al. [4] found little correlation between coverage and "
    "robustness. A later study [5] comes to some more favourable conclusions.",
    "For these reasons this report gives no single quality score. Compare a metric only with "
    "itself: the same model, metric, view and parameters, on another suite of images; or another "
    "release of the model on the same suite. Thresholds are absolute unless the definition says "
    "otherwise, so figures of layers with different value ranges are not comparable.",
)
"""What the metrics can and cannot show; numbers in brackets refer to `REFERENCES`."""

REFERENCES: tuple[str, ...] = (
    "F. Harel-Canada, L. Wang, M. A. Gulzar, Q. Gu, M. Kim. Is Neuron Coverage a Meaningful "
    "Measure for Testing Deep Neural Networks? ESEC/FSE 2020. doi:10.1145/3368089.3409754",
    "Z. Li, X. Ma, C. Xu, C. Cao. Structural Coverage Criteria for Neural Networks Could Be "
    "Misleading. ICSE-NIER 2019. doi:10.1109/ICSE-NIER.2019.00031",
    "S. Yan, G. Tao, X. Liu, J. Zhai, S. Ma, L. Xu, X. Zhang. Correlations between Deep Neural "
    "Network Model Coverage Criteria and Model Quality. ESEC/FSE 2020. "
    "doi:10.1145/3368089.3409671",
    "Y. Dong et al. There is Limited Correlation between Coverage and Robustness for Deep Neural "
    "Networks. arXiv:1911.05904, 2019",
    "M. Yan, J. Chen, X. Cao, Z. Wu, Y. Kang, Z. Wang. Revisiting Deep Neural Network Test "
    "Coverage from the Test Effectiveness Perspective. Journal of Software: Evolution and "
    "Process, 2023. arXiv:2010.04946",
    "K. Pei, Y. Cao, J. Yang, S. Jana. DeepXplore: Automated Whitebox Testing of Deep Learning "
    "Systems. SOSP 2017. doi:10.1145/3132747.3132785",
    "L. Ma et al. DeepGauge: Multi-Granularity Testing Criteria for Deep Learning Systems. ASE "
    "2018. doi:10.1145/3238147.3238202",
    "Y. Sun, X. Huang, D. Kroening, J. Sharp, M. Hill, R. Ashmore. Structural Test Coverage "
    "Criteria for Deep Neural Networks. ACM TECS 18(5s), 2019. doi:10.1145/3358233",
)
"""The literature that the report rests on."""
