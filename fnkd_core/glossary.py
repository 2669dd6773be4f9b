"""What the terms of the pages mean, in one dict: the app shows it from every page, the reference prints it."""

WORDS = {
    "Accuracy": "Share of the samples whose largest logit is that of their label.",
    "Agreement": "Share of the samples for which teacher and student predict the same class, right or wrong.",
    "AUROC": "Share of pairs of a right and a wrong sample in which the right one has the higher score. 0.5 is chance.",
    "Best": "The epoch with the highest accuracy on validation. Its numbers are of the test split.",
    "Card": "What stands beside a checkpoint's weights: its network, classes, how it reads images, where it is from.",
    "Confidence": "The largest probability that a model gives, softmax(v) at its maximum.",
    "Decile": "A tenth of the samples, by rising ‖f‖: decile 1 has the lowest norms.",
    "ECE": "Expected calibration error: how far confidence and accuracy lie apart, over 15 bins of equal width.",
    "Entropy": "How spread out a distribution is, in nats: 0 for one class alone, ln K where all K are equal.",
    "Extraction": "Asking a model for its outputs on every sample of a split, and keeping them as a store.",
    "Features, f": "The input of a network's last linear layer, a vector of D numbers for each sample.",
    "FN": "Feature normalized distillation: teacher's and student's logits of a sample are divided by their own ‖f‖/τ.",
    "Hard term": "The part of the loss that learns the labels. Soft term: the part that learns from the teacher.",
    "Identity": "A short digest of what a thing is (weights, images, settings), whatever it is called.",
    "Information beyond the label": "What a softened target says about the other classes that a label does not.",
    "KD": "Knowledge distillation: a student learns the teacher's probabilities at one temperature T.",
    "Last": "The last epoch. Nobody has chosen it, so it comes first in every table.",
    "Logits, v": "What a network gives for each class before the softmax: v = W f + b.",
    "Margin": "The largest probability minus the second largest.",
    "NLL": "Mean of -log of the label's probability, in nats. Lower is better.",
    "Norm, ‖f‖": "The length of a sample's feature vector. The larger, the closer softmax(v) is to one class alone.",
    "One-hot": "A target that gives the label everything and the other classes nothing.",
    "Run": "One training, in a folder of its own. It goes on from its last finished epoch.",
    "Seed": "Decides initialisation, order, augmentation and what is drawn. Results are means over several.",
    "Share of the gradient": "A term's part of the sum of both gradient norms. Near 0 the soft term does nothing.",
    "Similar classes": "Groups of classes that share what one-hot denies them, for aLSD, label noise and wkd.",
    "Soft target": "The teacher's probabilities at a temperature, which the student learns.",
    "Split": "Train, validation or test. Test is measured once, when a run has ended.",
    "Store": "One model's outputs on one split, kept on the disk; pages read it and compute nothing anew.",
    "Student": "The model that is trained. Teacher: the one it learns from.",
    "Temperature, T": "Logits are divided by it before the softmax: above 1 flattens, below 1 sharpens.",
    "View": "One augmented version of a sample: the same for every run that asks for view number n.",
    "α, λ": "Weights of the soft term: α in KD, where the hard term has 1 - α; λ² in FN, where the hard term has 1.",
    "τ": "FN's one value: a sample with ‖f‖ = τ is softened by T = 1. In the unit of ‖f‖.",
}


def words_with(wanted: str) -> dict[str, str]:
    """Those that have this in the word or in its meaning, in any case; all of them for nothing."""
    text = wanted.strip().casefold()
    return {word: meaning for word, meaning in WORDS.items() if text in f"{word} {meaning}".casefold()}
