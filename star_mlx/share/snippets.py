"""How to load what is in a repository: the code of the card, which tests run."""

from __future__ import annotations

import json
from collections.abc import Sequence

from star_mlx.export.facts import Base, Facts
from star_mlx.gguf import names as gguf_names
from star_mlx.share.markdown import code, fence

MLX = """\
from pathlib import Path

from huggingface_hub import snapshot_download
from mlx_lm import generate, load
{imports}
folder = Path(snapshot_download({repo!r}))
{base}
model, tokenizer = load({load}, adapter_path=str(folder))
{prompt}
text = generate(model, tokenizer, prompt=prompt, max_tokens={max_tokens})
for stop in {stops!r}:
    text = text.split(stop)[0]
print(text)
"""

PEFT = """\
from pathlib import Path

from huggingface_hub import snapshot_download
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = Path(snapshot_download({repo!r}))
base = {base!r}{comment}
tokenizer = AutoTokenizer.from_pretrained(base{at})
model = AutoModelForCausalLM.from_pretrained(base{at}, dtype="float32")
model = PeftModel.from_pretrained(model, str(folder / "peft"))
{prompt}
ids = tokenizer(prompt, return_tensors="pt"{special})
out = model.generate(**ids, max_new_tokens={max_tokens}, do_sample=False)
text = tokenizer.decode(out[0][ids["input_ids"].shape[1]:], skip_special_tokens=True)
for stop in {stops!r}:
    text = text.split(stop)[0]
print(text)
"""

LLAMA_CPP = """\
python3 - <<'END'
import json
from pathlib import Path

asked = json.loads(Path("{folder}/prompt.json").read_text(encoding="utf-8"))
prompt = asked["few_shot"] * asked["few_shot_used"] + asked["template"]
{puts}Path("prompt.txt").write_bytes(prompt.encode())
END
llama-completion {load} -bf prompt.txt --no-escape{bos} \\
  -n {max_tokens} --temp 0 -no-cnv --no-display-prompt
"""

PLAIN = "prompt = {asked!r}"
FEW_SHOT = 'prompt = (folder / "run/prompt.txt").read_bytes().decode() + {asked!r}'
CHAT = """\
turns = json.loads((folder / "run/turns.json").read_text(encoding="utf-8"))
turns = [{{"role": role, "content": text}} for role, text in turns]
turns.append({{"role": "user", "content": {asked!r}}})
prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)"""

DEQUANTIZED = "base-in-full-precision"


def section(facts: Facts, repo_id: str, formats: Sequence[str], notes: Sequence[str]) -> str:
    """The part of the card on how to load what is there; ``notes`` say what is not."""
    lines = ["## How to use it", *notes]
    if "mlx" in formats:
        lines += [
            "With star-mlx, which finds the base, asks as above and reads the answer:",
            fence(tried(facts, repo_id), "sh"),
            "With mlx-lm:",
            fence(mlx(facts, repo_id), "python"),
        ]
    if "peft" in formats:
        lines += [f"With PEFT: {_precision(facts.base)}", fence(peft(facts, repo_id), "python")]
    lines += _llama_cpp(facts, repo_id, formats)
    return "\n\n".join(lines)


def tried(facts: Facts, repo_id: str) -> str:
    """The commands that fetch it and ask it."""
    folder = "pulled/" + repo_id.replace("/", "--")
    model = "" if facts.base.id or facts.base.tiny else " --model FOLDER-OF-THE-BASE"
    question = "'" + facts.asking.question.replace("'", "'\\''").replace("\n", " ") + "'"
    return f"star-mlx pull {repo_id}\nstar-mlx try {folder} {question}{model}\n"


def mlx(facts: Facts, repo_id: str) -> str:
    """Python that loads it with mlx-lm and asks it."""
    base, how = facts.base, facts.asking
    imports = "import json\n" if how.turns is not None else ""
    where, load = "", ""
    if base.id:
        at = f", revision={base.revision!r}" if base.revision else ""
        load = f"{base.id!r}{at}"
    elif base.tiny:
        imports += "from star_mlx.engine.resolve import TINY\n"
        where, load = "base = str(TINY)", "base"
    else:
        where, load = f"base = {base.name!r}  # the folder of the base, wherever it is", "base"
    return (
        MLX.format(
            imports=imports,
            repo=repo_id,
            base=where,
            load=load,
            prompt=_prompt(facts),
            max_tokens=how.max_tokens,
            stops=list(how.stop),
        )
        .replace("\n\n\nfolder", "\n\nfolder")
        .replace("\n\nmodel,", "\nmodel,")
    )


def peft(facts: Facts, repo_id: str) -> str:
    """Python that loads it with PEFT and asks it."""
    base, how = facts.base, facts.asking
    text = PEFT.format(
        repo=repo_id,
        base=base.id if _whole(base) else DEQUANTIZED,
        comment="" if _whole(base) else "  # made from the base as said above",
        at=f", revision={base.revision!r}" if _whole(base) and base.revision else "",
        prompt=_prompt(facts),
        special=", add_special_tokens=False" if how.turns is not None else "",
        max_tokens=how.max_tokens,
        stops=list(how.stop),
    )
    return "import json\n" * (how.turns is not None) + text


def in_full(base: Base) -> str:
    """The commands that make the folder ``DEQUANTIZED`` of the base, for PEFT."""
    fetched = ""
    if base.id:
        at = f" --revision {base.revision}" if base.revision else ""
        path = DEQUANTIZED if _whole(base) else "base"
        fetched = f"hf download {base.id}{at} --local-dir {path}\n"
    elif base.tiny:
        path = "\"$(python -c 'from star_mlx.engine.resolve import TINY; print(TINY)')\""
    else:
        path = "FOLDER-OF-THE-BASE"
    if _whole(base):
        return fetched
    return f"{fetched}mlx_lm.convert --hf-path {path} --dequantize --mlx-path {DEQUANTIZED}\n"


def _whole(base: Base) -> bool:
    """Whether transformers can load the base as it is on the Hub."""
    return base.id is not None and (base.bits or 16) >= 16


def _precision(base: Base) -> str:
    if _whole(base):
        return "the base as it is."
    return (
        "it takes the base in full precision. The adapter was trained on the values of this very "
        "base, so take these, and not the model that it may have been quantized from:\n\n"
        + fence(in_full(base), "sh")
    )


def _prompt(facts: Facts) -> str:
    how = facts.asking
    shape = CHAT if how.turns is not None else FEW_SHOT if how.few_shot else PLAIN
    return shape.format(asked=how.asked)


def _llama_cpp(facts: Facts, repo_id: str, formats: Sequence[str]) -> list[str]:
    """Shell commands that ask it with llama.cpp, by what is there to load."""
    pulled = "pulled/" + repo_id.replace("/", "--")
    fetch = f"star-mlx pull {repo_id}\n"
    model = "" if facts.base.id or facts.base.tiny else " --model FOLDER-OF-THE-BASE"
    export = f"star-mlx export {pulled}{model} --out gguf --format"
    if "gguf" in formats:
        words = "With llama.cpp, the base and the adapter in one file"
        fetch = f"hf download {repo_id} --local-dir adapter\n"
        folder, load = "adapter/gguf", "-m adapter/gguf/*.gguf"
    elif facts.base.architecture not in gguf_names.MODELS or "mlx" not in formats:
        return []
    elif "gguf-lora" in formats:
        words = "With llama.cpp, the adapter on a GGUF file of its base, which is made first"
        fetch += f"{export} gguf-lora --with-base\n"
        folder, load = "gguf", f"-m gguf/base-F16.gguf --lora {pulled}/gguf-lora/*.gguf"
    else:
        words = "With llama.cpp, the base and the adapter made one file"
        fetch += f"{export} gguf\n"
        folder, load = "gguf", "-m gguf/*.gguf"
    how = facts.asking
    put = {f"{{choice {label}}}": text for label, text in how.posed.choices}
    put["{question}"] = how.posed.text
    ask = LLAMA_CPP.format(
        folder=folder,
        puts="".join(f"prompt = prompt.replace({k!r}, {v!r})\n" for k, v in put.items()),
        load=load,
        max_tokens=how.max_tokens,
        bos="" if how.turns is None else " --override-kv tokenizer.ggml.add_bos_token=bool:false",
    )
    ends = " or ".join(code(json.dumps(text, ensure_ascii=False)) for text in how.stop)
    words += f" (the answer ends at the first {ends}):" if ends else ":"
    return [words, fence(fetch + ask, "sh")]
