"""Values of the usual packages for the scorers of texts, written to `text.json`.

    python3 -m venv v && v/bin/pip install sacrebleu==2.5.1 rouge-score==0.1.2 rapidfuzz==3.14.6
    v/bin/python tests/texts/make_text.py
"""

import json
import pathlib

import rapidfuzz
import sacrebleu
from rapidfuzz.distance import Indel, JaroWinkler, Levenshtein
from rouge_score import rouge_scorer
from sacrebleu.metrics import BLEU, CHRF

PAIRS = [
    ("The quick brown dog jumps on the log.", "The quick brown fox jumps over the lazy dog."),
    ("the gunman kill police", "police killed the gunman"),
    ("A refund of 1234.50 USD will be issued on May 20, 2024.", "Your refund of $1,234.50 was issued on 2024-05-20."),
    ("The Denver Broncos!", "Denver Broncos"),
    ("naive cafe deja vu", "naïve café—déjà vu"),
    ("book HAT136, HAT039 in economy without insurance", "HAT136 and HAT039, economy; no insurance"),
    ("It's (really) well-known: 3-4 items, e.g. \"tea\" &amp; milk...", "It is really well known: 3-4 items, such as \"tea\" & milk."),
    ("a", "a"),
    ("a b", "b a"),
    ("東京は首都です", "東京は日本の首都です"),
    ("Paris", "The capital of France is Paris."),
    ("The capital of France is Paris. " * 5, "The capital of France is Paris."),
    ("line one\nline two-\nthree", "line one line twothree"),
    ("Der Zug fährt um 10:30 Uhr, Gleis 7.", "Der Zug fährt um 10.30 Uhr von Gleis 7 ab."),
    ("no overlap here", "xyzzy plugh quux"),
]
SEVERAL = [
    ("the cat sat on the mat", ["the cat is on the mat", "there is a cat on the mat"]),
    ("It is a guide to action which ensures that the military always obeys the commands of the party.",
     ["It is a guide to action that ensures that the military will forever heed Party commands.",
      "It is the guiding principle which guarantees the military forces always being under the command of the Party.",
      "It is the practical guide for the army always to heed the directions of the party."]),
]


def main():
    cases = []

    def add(scorer, options, output, reference, value):
        cases.append({"scorer": scorer, "options": options, "output": output, "reference": reference, "value": value})

    bleu = BLEU(effective_order=True)
    lower = BLEU(effective_order=True, lowercase=True)
    chrf, plus = CHRF(), CHRF(word_order=2)
    rouge = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    for output, reference in PAIRS:
        add("bleu", {}, output, reference, bleu.sentence_score(output, [reference]).score / 100)
        add("bleu", {"ignore_case": True}, output, reference, lower.sentence_score(output, [reference]).score / 100)
        add("chrf", {}, output, reference, chrf.sentence_score(output, [reference]).score / 100)
        add("chrf", {"word_order": 2}, output, reference, plus.sentence_score(output, [reference]).score / 100)
        if any("a" <= letter <= "z" for letter in reference.lower()):
            values = rouge.score(reference, output)
            add("rouge_1", {}, output, reference, values["rouge1"].fmeasure)
            if len(reference.split()) > 1:
                add("rouge_2", {}, output, reference, values["rouge2"].fmeasure)
            add("rouge_l", {}, output, reference, values["rougeL"].fmeasure)
        add("edit_distance", {}, output, reference, Levenshtein.normalized_similarity(output, reference))
        add("edit_distance", {"distance": "indel"}, output, reference, Indel.normalized_similarity(output, reference))
        add("jaro_winkler", {}, output, reference, JaroWinkler.normalized_similarity(output, reference))
    for output, references in SEVERAL:
        options = {"any_reference": True}
        add("bleu", options, output, references, bleu.sentence_score(output, references).score / 100)
        add("chrf", options, output, references, chrf.sentence_score(output, references).score / 100)
        for name, key in (("rouge_1", "rouge1"), ("rouge_2", "rouge2")):
            best = max(rouge.score(reference, output)[key].fmeasure for reference in references)
            add(name, options, output, references, best)
    versions = {"sacrebleu": sacrebleu.__version__, "rouge-score": "0.1.2", "rapidfuzz": rapidfuzz.__version__}
    path = pathlib.Path(__file__).with_name("text.json")
    path.write_text(json.dumps({"made_by": versions, "cases": cases}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
