"""lm-evaluation-harness's own tasks over local rows.

The prepared rows of a data folder (docs/formats/eval-data.md) are turned into the fields of the published datasets, and
each task file of the harness is included with nothing changed but where its rows come from.
"""

import json
from pathlib import Path

import lm_eval

HARNESS_TASKS = Path(lm_eval.__file__).parent / "tasks"
LETTERS = "ABCDEFGHIJ"


def labelled(texts, gold):
    return {"choices": {"text": texts, "label": list(LETTERS[: len(texts)])}, "answerKey": LETTERS[gold]}


def lambada(row):
    return {"text": row["context"] + " " + row["continuation"]}


def hellaswag(row):
    """The last sentence becomes ctx_b, so that its capital is the harness's doing."""
    label, context = row["ctx"].split(": ", 1)
    head, mark, tail = context.rpartition(". ")
    a, b = (head + ".", tail) if mark else (context, "")
    return {"activity_label": label, "ctx_a": a, "ctx_b": b, "endings": row["endings"], "label": str(row["label"])}


def piqa(row):
    goal = row["query"].removeprefix("Question: ").removesuffix("\n")
    return {"goal": goal, "sol1": row["choices"][0], "sol2": row["choices"][1], "label": row["gold"]}


def winogrande(row):
    """The options are what differs at the end of the two contexts, cut at the last word they share."""
    a, b = row["context_options"]
    same = 0
    while same < min(len(a), len(b)) and a[same] == b[same]:
        same += 1
    same = a.rfind(" ", 0, same) + 1
    sentence = a[:same] + "_ " + row["continuation"]
    return {"sentence": sentence, "option1": a[same:], "option2": b[same:], "answer": str(row["gold"] + 1)}


def arc(row):
    return {"question": row["query"].removeprefix("Question: "), **labelled(row["choices"], row["gold"])}


def openbookqa(row):
    return {"question_stem": row["query"], **labelled(row["choices"], row["gold"])}


def mmlu(row):
    return {**row, "answer": LETTERS.index(row["answer"])}


# task: folder, file to read, file to write, split, the harness's file, conversion
TASKS = {
    "lambada_openai": ("lambada", "test", "test", "lambada/lambada_openai.yaml", lambada),
    "hellaswag": ("hellaswag", "val", "validation", "hellaswag/hellaswag.yaml", hellaswag),
    "piqa": ("piqa", "val", "validation", "piqa/piqa.yaml", piqa),
    "winogrande": ("winogrande", "val", "validation", "winogrande/default.yaml", winogrande),
    "arc_easy": ("arc_easy", "test", "test", "arc/arc_easy.yaml", arc),
    "arc_challenge": ("arc_challenge", "test", "test", "arc/arc_challenge.yaml", arc),
    "openbookqa": ("openbookqa", "test", "test", "openbookqa/openbookqa.yaml", openbookqa),
}
MMLU = {
    "mmlu": "mmlu/default/mmlu_{subject}.yaml",
    "mmlu_continuation": "mmlu/continuation/mmlu_{subject}.yaml",
}


def read_rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def write_task(folder, name, harness_file, data_files, metrics):
    """JSON is YAML; a list of metrics replaces the included one where given."""
    task = {
        "include": str(HARNESS_TASKS / harness_file),
        "task": "local_" + name,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": data_files},
        "training_split": None,
    }
    if "validation" not in data_files:
        task["validation_split"] = None
    if metrics:
        task["metric_list"] = [{"metric": m, "aggregation": "mean", "higher_is_better": True} for m in metrics]
    (folder / f"{name}.yaml").write_text(json.dumps(task), encoding="utf-8")


def make(data, out, limit):
    """Rows in out/data, as `fathom eval --data` reads them, and task files in out/tasks."""
    tasks = out / "tasks"
    tasks.mkdir(parents=True, exist_ok=True)
    for name, (folder, source, split, harness_file, convert) in TASKS.items():
        rows = [convert(row) for row in read_rows(data / folder / f"{source}.jsonl")[:limit]]
        path = write_rows(out / "data" / folder / f"{split}.jsonl", rows)
        metrics = ["acc", "acc_norm", "acc_bytes"] if name not in ("lambada_openai", "winogrande") else None
        write_task(tasks, name, harness_file, {split: path}, metrics)
    make_mmlu(data, out, limit)


def make_mmlu(data, out, limit):
    """One task a subject, as the harness has it, and groups over all of them."""
    test = [mmlu(row) for row in read_rows(data / "mmlu" / "test.jsonl")]
    dev = [mmlu(row) for row in read_rows(data / "mmlu" / "dev.jsonl")]
    subjects = list(dict.fromkeys(row["subject"] for row in test))
    per_subject = max(2, limit // len(subjects))
    kept = [row for s in subjects for row in [r for r in test if r["subject"] == s][:per_subject]]
    write_rows(out / "data" / "mmlu" / "test.jsonl", kept)
    write_rows(out / "data" / "mmlu" / "dev.jsonl", dev)
    for subject in subjects:
        files = {
            split: write_rows(out / "subjects" / subject / f"{split}.jsonl", [r for r in rows if r["subject"] == subject])
            for split, rows in (("test", kept), ("dev", dev))
        }
        for name, harness_file in MMLU.items():
            metrics = ["acc", "acc_norm", "acc_bytes"] if name == "mmlu_continuation" else None
            write_task(out / "tasks", f"{name}_{subject}", harness_file.format(subject=subject), files, metrics)
    for name in MMLU:
        metrics = ["acc"] if name == "mmlu" else ["acc", "acc_norm", "acc_bytes"]
        group = {
            "group": "local_" + name,
            "task": [f"local_{name}_{subject}" for subject in subjects],
            "aggregate_metric_list": [{"metric": metric, "weight_by_size": True} for metric in metrics],
        }
        (out / "tasks" / f"_{name}.yaml").write_text(json.dumps(group), encoding="utf-8")


def subjects(out):
    return sorted(path.name for path in (out / "subjects").iterdir())


def make_rolling(text, out):
    """A file of documents for loglikelihood_rolling; returns what `fathom eval --rolling` reads."""
    documents = [{"text": document} for document in text]
    path = write_rows(out / "rolling" / "documents.jsonl", documents)
    task = {
        "task": "local_rolling",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": path}},
        "output_type": "loglikelihood_rolling",
        "test_split": "test",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": m} for m in ("word_perplexity", "byte_perplexity", "bits_per_byte")],
    }
    (out / "tasks" / "rolling.yaml").write_text(json.dumps(task), encoding="utf-8")
    return path
