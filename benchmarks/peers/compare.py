#!/usr/bin/env python3
"""One training step in jlora and in PyTorch + PEFT, side by side on the CPU.

    benchmarks/peers/compare.py --python PYTHON [--rounds 3] [--workloads gpt2-124m-f32,…]

PYTHON is a Python that has torch, transformers and peft; this script itself needs the standard library alone.
Every round runs jlora and then each arm of the peer, so slow spells of the machine hit both sides; each run is a
process of its own with warm-up steps before the timed ones. Then each workload's step is profiled op by op.
Writes cpu-step.json and cpu-step.md, by default to benchmarks/results/.
"""
import argparse
import datetime
import json
import os
import random
import re
import shlex
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PEFT_ROWS = os.path.join(ROOT, "benchmarks", "peers", "peft_rows.py")
REPORT = "cpu-step"
# Enough for every step to have its own data at the usual number of steps.
RANDOM_BATCHES = 4

WORKLOADS = {
    "gpt2-124m-f32": dict(geometry="gpt2-124m", dtype="float32", seq=256, batch=4, rank=8, targets="c_attn"),
    "gpt2-124m-bf16": dict(geometry="gpt2-124m", dtype="bfloat16", seq=256, batch=4, rank=8, targets="c_attn"),
    "llama-0.5b-f32": dict(geometry="llama-0.5b", dtype="float32", seq=512, batch=1, rank=16, targets="all-linear"),
    "llama-0.5b-bf16": dict(geometry="llama-0.5b", dtype="bfloat16", seq=512, batch=1, rank=16, targets="all-linear"),
    "stories260k-e2e": dict(model="models/stories260k", data="data/e2e/train.jsonl", dtype="float32", batch=8, rank=8,
                            targets="all-linear"),
}
ARMS = ("eager", "eager-bf16", "compile")


class Failure(Exception):
    """What the user can act on: one sentence."""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="python3", help="a Python with torch, transformers and peft (%(default)s)")
    parser.add_argument("--shared", default=os.path.join("..", "shared"),
                        help="folder with models/, data/ and peers/ (%(default)s, from the repository)")
    parser.add_argument("--referee", help="the peer's step for random weights (SHARED/peers/peft_step.py)")
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="comma-separated (%(default)s)")
    parser.add_argument("--arms", help="the peer's arms, of %s; by default eager, and eager-bf16 too in bfloat16; "
                        "compile needs a C++ compiler and minutes" % ", ".join(ARMS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="timed steps of a run; 40 times as many of stories260k's")
    parser.add_argument("--warmup", type=int, default=3, help="steps before them, likewise (%(default)s)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of both sides (%(default)s)")
    parser.add_argument("--no-profile", action="store_true", help="leave the table per op out")
    parser.add_argument("--out", default=os.path.join("benchmarks", "results"), help="folder (%(default)s)")
    args = parser.parse_args()
    for name in ("rounds", "steps", "threads"):
        if getattr(args, name) < 1:
            raise Failure("--%s is %d; give at least 1." % (name, getattr(args, name)))
    if args.warmup < 0:
        raise Failure("--warmup is %d; give at least 0." % args.warmup)
    args.workloads = known("--workloads", args.workloads, WORKLOADS)
    args.arms = known("--arms", args.arms, ARMS) if args.arms else None
    # Paths in options start from the repository, so that the recorded command says the same elsewhere.
    args.shared = os.path.join(ROOT, args.shared)
    args.out = os.path.join(ROOT, args.out)
    args.referee = os.path.join(ROOT, args.referee or os.path.join(args.shared, "peers", "peft_step.py"))
    if os.sep in args.python:
        args.python = os.path.abspath(args.python)
    return args


def known(option, words, names):
    chosen = words.split(",")
    for word in chosen:
        if word not in names:
            raise Failure("%s: there is no '%s'; choose from %s." % (option, word, ", ".join(names)))
    return chosen


def check_peer(args):
    """Versions of the peer's libraries."""
    program = ("import json, platform, peft, torch, transformers; print(json.dumps(dict(python=platform.python_version(),"
               " torch=torch.__version__, transformers=transformers.__version__, peft=peft.__version__)))")
    try:
        done = subprocess.run([args.python, "-c", program], capture_output=True, text=True, check=False)
    except OSError as error:
        raise Failure("%s cannot be started (%s); name a Python with --python." % (args.python, error.strerror))
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Failure("%s lacks torch, transformers or peft (%s); install them there (pip install torch transformers "
                      "peft), or name another Python with --python." % (args.python, reason))
    return json.loads(done.stdout.splitlines()[-1])


def check_files(args):
    for name in args.workloads:
        work = WORKLOADS[name]
        needed = ([args.referee] if "geometry" in work
                  else [os.path.join(args.shared, work["model"]), os.path.join(args.shared, work["data"])])
        for path in needed:
            if not os.path.exists(path):
                raise Failure("%s: %s does not exist; say where it is (--shared, --referee), or leave the workload out "
                              "(--workloads)." % (name, os.path.relpath(path, ROOT)))


def run(command, log, environment=None):
    """Runs a process to its end: what it printed, and the most memory it ever held, in bytes."""
    with open(log, "w+", encoding="utf-8") as out, open(log + ".err", "w+", encoding="utf-8") as err:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=err, stdin=subprocess.DEVNULL,
                                   env={**os.environ, **(environment or {})})
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            tail = (err.read().strip() or out.read().strip()).splitlines()[-12:]
            raise Failure("%s ended with %d:\n  %s" % (os.path.relpath(command[0], ROOT), process.returncode,
                                                       "\n  ".join(tail)))
        return out.read(), usage.ru_maxrss * 1024


def write_rows(args, work, path):
    """The training rows of a workload, as token ids; returns tokens of each."""
    if "geometry" not in work:
        scale = args.steps + args.warmup
        run([args.python, PEFT_ROWS, "prepare", "--model", os.path.join(args.shared, work["model"]), "--data",
             os.path.join(args.shared, work["data"]), "--rows", str(min(4000, 40 * scale * work["batch"])), "--out", path],
            path + ".log")
        with open(path, encoding="utf-8") as rows:
            return [len(json.loads(row)["input_ids"]) for row in rows]
    with open(os.path.join(model_folder(args, work), "config.json"), encoding="utf-8") as config:
        vocabulary = json.load(config)["vocab_size"]
    generator = random.Random(0)
    count = RANDOM_BATCHES * work["batch"]
    with open(path, "w", encoding="utf-8") as rows:
        for _ in range(count):
            ids = [generator.randrange(vocabulary) for _ in range(work["seq"])]
            rows.write(json.dumps({"input_ids": ids, "labels": ids}) + "\n")
    return [work["seq"]] * count


def model_folder(args, work):
    if "geometry" in work:
        return os.path.join(ROOT, "configs", "geometries", work["geometry"])
    return os.path.join(args.shared, work["model"])


def peer_geometry(work, folder):
    """A copy of the geometry in the workload's own type: without one, Transformers takes the file's."""
    with open(os.path.join(ROOT, "configs", "geometries", work["geometry"], "config.json"), encoding="utf-8") as config:
        settings = json.load(config)
    settings.pop("dtype", None)
    settings["torch_dtype"] = work["dtype"]
    path = os.path.join(folder, work["geometry"])
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as config:
        json.dump(settings, config)
    return path


def steps(args, work):
    """Warm-up and timed steps: a tiny model's take milliseconds."""
    scale = 1 if "geometry" in work else 40
    return args.warmup * scale, args.steps * scale


def write_config(args, work, rows, folder):
    """jlora's configuration of a workload."""
    warmup, timed = steps(args, work)
    targets = work["targets"] if work["targets"] == "all-linear" else "[%s]" % work["targets"]
    lines = [
        "model_name_or_path: %s" % json.dumps(model_folder(args, work)),
        "random_init: %s" % ("true" if "geometry" in work else "false"),
        "output_dir: %s" % json.dumps(os.path.join(folder, "run")),
        "overwrite: true",
        "dtype: %s" % work["dtype"],
        "device: cpu",
        "cpu_threads: %d" % args.threads,
        "datasets: [{path: %s, type: tokens}]" % json.dumps(rows),
        "shuffle: false",
        "packing: false",
        "max_length: %d" % work.get("seq", 512),
        "per_device_train_batch_size: %d" % work["batch"],
        "lora_r: %d" % work["rank"],
        "lora_alpha: %d" % (2 * work["rank"]),
        "lora_target_modules: %s" % targets,
        "learning_rate: 1.0e-4",
        "lr_scheduler_type: constant",
        "max_steps: %d" % (warmup + timed),
        "logging_steps: 1",
        "gradient_checkpointing: none",
    ]
    path = os.path.join(folder, "run.yaml")
    with open(path, "w", encoding="utf-8") as config:
        config.write("\n".join(lines) + "\n")
    return path


def batch_tokens(lengths, size, count):
    """Real tokens of each of the first steps, in file order; the short batch at the end of an epoch is kept."""
    sizes = [sum(lengths[first:first + size]) for first in range(0, len(lengths), size)]
    return [sizes[i % len(sizes)] for i in range(count)]


def run_jlora(args, work, config, lengths, folder, log):
    _, peak = run([os.path.join(ROOT, "jlora"), "train", "-c", config], log)
    warmup, timed = steps(args, work)
    with open(os.path.join(folder, "run", "metrics.jsonl"), encoding="utf-8") as metrics:
        logged = [json.loads(line) for line in metrics]
    seconds = [line["seconds"] for line in logged if "loss" in line]
    if len(seconds) != warmup + timed:
        raise Failure("jlora logged %d steps, %d expected." % (len(seconds), warmup + timed))
    tokens = batch_tokens(lengths, work["batch"], warmup + timed)
    rates = [t / s for t, s in list(zip(tokens, seconds))[warmup:]]
    return measured(rates, peak, logged[0]["loss"])


def run_peer(args, work, arm, rows, folder, log):
    warmup, timed = steps(args, work)
    environment = {"OMP_NUM_THREADS": str(args.threads), "MKL_NUM_THREADS": str(args.threads),
                   "TOKENIZERS_PARALLELISM": "false"}
    if "geometry" not in work:
        out, peak = run([args.python, PEFT_ROWS, "train", "--model", model_folder(args, work), "--rows", rows, "--batch",
                         str(work["batch"]), "--rank", str(work["rank"]), "--warmup", str(warmup), "--steps", str(timed)],
                        log, environment)
        result = json.loads(out.splitlines()[-1])
        same_threads(args, result["threads"])
        rates = [t / s for t, s in zip(result["tokens"], result["seconds"])]
        return measured(rates, peak, result["first_loss"])
    out, peak = run([args.python, args.referee, "--geometry", peer_geometry(work, folder), "--arm", arm, "--device", "cpu",
                     "--dtype", work["dtype"], "--seq", str(work["seq"]), "--batch", str(work["batch"]), "--rank",
                     str(work["rank"]), "--targets", work["targets"], "--warmup", str(warmup), "--steps", str(timed)],
                    log, environment)
    result = json.loads(out.splitlines()[-1])
    same_threads(args, int(re.search(r"x(\d+)$", result["device"]).group(1)))
    slow, fast = (work["batch"] * work["seq"] * 1e3 / ms for ms in reversed(result["spread"]))
    return dict(tokens_per_s=result["tokens_per_s"], low=slow, high=fast, peak_bytes=peak)


def same_threads(args, threads):
    if threads != args.threads:
        raise Failure("the peer ran with %d threads, jlora with %d; choose --threads so that both can." %
                      (threads, args.threads))


def measured(rates, peak, first_loss):
    return dict(tokens_per_s=statistics.median(rates), low=min(rates), high=max(rates), peak_bytes=peak,
                first_loss=first_loss)


def arms_of(args, work):
    if "geometry" not in work:
        return ["eager"]
    if args.arms:
        return args.arms
    # The adapters' type matters only where the weights' is another one than float32.
    return ["eager"] if work["dtype"] == "float32" else ["eager", "eager-bf16"]


def compare(args, name, folder):
    work = WORKLOADS[name]
    os.makedirs(folder)
    rows = os.path.join(folder, "rows.jsonl")
    lengths = write_rows(args, work, rows)
    config = write_config(args, work, rows, folder)
    sides = {arm: [] for arm in ["jlora"] + arms_of(args, work)}
    for number in range(1, args.rounds + 1):
        for side, results in sides.items():
            log = os.path.join(folder, "%s-%d.log" % (side, number))
            result = (run_jlora(args, work, config, lengths, folder, log) if side == "jlora"
                      else run_peer(args, work, side, rows, folder, log))
            results.append(result)
            say("%s, round %d of %d: %-10s %9.1f tokens/s, peak %.2f GiB" %
                (name, number, args.rounds, side, result["tokens_per_s"], result["peak_bytes"] / 2**30))
    same_losses(name, sides)
    summary = {side: summarise(results) for side, results in sides.items()}
    best = max((side for side in sides if side != "jlora"), key=lambda side: summary[side]["tokens_per_s"])
    warmup, timed = steps(args, work)
    entry = dict(workload=name, settings={k: v for k, v in work.items()}, warmup=warmup, steps=timed, sides=summary,
                 best_arm=best, ratio=summary["jlora"]["tokens_per_s"] / summary[best]["tokens_per_s"],
                 ratio_per_round=[ours["tokens_per_s"] / theirs["tokens_per_s"]
                                  for ours, theirs in zip(sides["jlora"], sides[best])])
    if not args.no_profile:
        profile = os.path.join(folder, "profile.json")
        say("%s: profile per op" % name)
        table, _ = run([os.path.join(ROOT, "benchmarks", "run"), "step-profile", "-c", config, "--warmup", str(warmup),
                        "--steps", str(timed), "--json", profile], os.path.join(folder, "profile.log"))
        with open(profile, encoding="utf-8") as numbers:
            entry["profile"] = json.load(numbers)
        entry["profile_table"] = table
    return entry


def same_losses(name, sides):
    """Where both sides hold the same weights, their first steps must have the same loss."""
    first = {side: results[0]["first_loss"] for side, results in sides.items() if "first_loss" in results[0]}
    if len(first) > 1 and max(first.values()) - min(first.values()) > 1e-3:
        raise Failure("%s: the sides do not compute the same thing, their losses in step 1 are %s." % (
            name, ", ".join("%.6f (%s)" % (loss, side) for side, loss in first.items())))


def summarise(results):
    rates = [result["tokens_per_s"] for result in results]
    return dict(tokens_per_s=statistics.median(rates), lowest_round=min(rates), highest_round=max(rates),
                peak_bytes=max(result["peak_bytes"] for result in results), rounds=results)


def first_line(command):
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return (done.stdout.strip().splitlines() or ["unknown"])[0] if done.returncode == 0 else "unknown"


def facts(args, peer, version, load):
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    with open("/proc/meminfo", encoding="utf-8") as lines:
        memory = next(int(line.split()[1]) for line in lines if line.startswith("MemTotal"))
    jdk = first_line([os.path.join(ROOT, "scripts", "find-jdk")])
    changed = [line for line in subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True,
                                               check=False).stdout.splitlines() if not line.startswith("??")]
    return dict(
        date=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        commit=first_line(["git", "rev-parse", "HEAD"]) + (" with changes" if changed else ""),
        cpu=models[0] if models else "unknown", processors=os.cpu_count(), threads=args.threads,
        memory_gib=round(memory / 2**20, 1), load_before=[round(average, 2) for average in load],
        jdk=first_line([os.path.join(jdk, "bin", "java"), "--version"]), jlora=version, **peer,
        command=recorded_command())


def recorded_command():
    """The command without the path of this machine's Python."""
    words, hide = ["benchmarks/peers/compare.py"], False
    for word in sys.argv[1:]:
        if hide:
            word, hide = "PYTHON", False
        elif word.startswith("--python="):
            word = "--python=PYTHON"
        elif word == "--python":
            hide = True
        words.append(word)
    return shlex.join(words)


def markdown(report):
    where = report["machine"]
    lines = [
        "# A training step on the CPU: jlora and PyTorch + PEFT",
        "",
        "Written by `%s` on %s." % (where["command"], where["date"]),
        "",
        "- %s, %d processors, %d threads on each side, %.1f GiB; load average before the run %s" %
        (where["cpu"], where["processors"], where["threads"], where["memory_gib"],
         ", ".join("%.2f" % load for load in where["load_before"])),
        "- %s, commit %s, %s" % (where["jlora"], where["commit"], where["jdk"]),
        "- Python %s, torch %s, transformers %s, peft %s" %
        (where["python"], where["torch"], where["transformers"], where["peft"]),
        "",
        "Tokens/s is the median over the timed steps of a run, padding not counted, and then over %d rounds; in brackets "
        "the lowest and the highest round. The sides alternate within a round. The ratio is that of the medians, against "
        "the peer's best arm (bold). Peak memory is the most that the process ever held (ru_maxrss), highest round."
        % report["rounds"],
        "",
        "| workload | side | tokens/s | peak GiB | jlora / best arm | per round |",
        "|---|---|--:|--:|--:|---|",
    ]
    for entry in report["workloads"]:
        for side, result in entry["sides"].items():
            ratio = "%.2fx" % entry["ratio"] if side == "jlora" else ""
            rounds = ", ".join("%.2f" % r for r in entry["ratio_per_round"]) if side == "jlora" else ""
            name = "jlora" if side == "jlora" else "PEFT " + side
            lines.append("| %s | %s | %.1f (%.1f–%.1f) | %.2f | %s | %s |" % (
                entry["workload"] if side == "jlora" else "", "**%s**" % name if side == entry["best_arm"] else name,
                result["tokens_per_s"], result["lowest_round"], result["highest_round"], result["peak_bytes"] / 2**30,
                ratio, rounds))
    lines += ["", "The workloads, LoRA everywhere with AdamW, clipping at 1 and no recomputation:", ""]
    for entry in report["workloads"]:
        lines.append("- %s: %s" % (entry["workload"], describe(entry)))
    profiled = [entry for entry in report["workloads"] if "profile_table" in entry]
    if profiled:
        lines += ["", "## Where jlora's time goes", "",
                  "One more run of each workload, op by op (`benchmarks/run step-profile`)."]
    for entry in profiled:
        lines += ["", "### " + entry["workload"], "", entry["profile_table"].rstrip()]
    return "\n".join(lines) + "\n"


def describe(entry):
    work = entry["settings"]
    what = ("configs/geometries/%s with random weights and random tokens, %d rows of %d tokens" %
            (work["geometry"], work["batch"], work["seq"]) if "geometry" in work else
            "%s on the first rows of %s, tokenised, %d rows of their own lengths in file order; the peer pads each batch "
            "to its longest row" % (os.path.basename(work["model"]), work["data"], work["batch"]))
    return "%s; %s, r=%d on %s; %d warm-up and %d timed steps per run" % (
        what, work["dtype"], work["rank"], work["targets"], entry["warmup"], entry["steps"])


def save(args, report):
    os.makedirs(args.out, exist_ok=True)
    texts = {".md": markdown(report), ".json": json.dumps(report, indent=1, ensure_ascii=False) + "\n"}
    for ending, text in texts.items():
        path = os.path.join(args.out, REPORT + ending)
        with open(path + ".tmp", "w", encoding="utf-8") as out:
            out.write(text)
        os.replace(path + ".tmp", path)


def say(line):
    print(line, file=sys.stderr, flush=True)


def main():
    args = arguments()
    peer = check_peer(args)
    check_files(args)
    load = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="jlora-compare-") as folder:
        say("building jlora where sources are newer…")
        version, _ = run([os.path.join(ROOT, "jlora"), "--version"], os.path.join(folder, "build.log"))
        if not args.no_profile:
            run([os.path.join(ROOT, "benchmarks", "run"), "op", "--list"], os.path.join(folder, "build.log"))
        report = dict(machine=facts(args, peer, version.strip(), load), rounds=args.rounds, workloads=[])
        for name in args.workloads:
            report["workloads"].append(compare(args, name, os.path.join(folder, name)))
            save(args, report)  # after each, so that a stopped run keeps what it measured
    for entry in report["workloads"]:
        entry.pop("profile_table", None)
    print(open(os.path.join(args.out, REPORT + ".md"), encoding="utf-8").read())


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        say("compare.py: %s" % failure)
        sys.exit(2)
