/** What each form of an export is for, and how it is loaded. */
import type { ExportFormat, SelfCheck } from "../worker/api.ts";
import { percent, shortNumber } from "./format.ts";

export interface ExportWords {
  readonly title: string;
  readonly what: string;
  /** Four lines at most. */
  readonly howTo: string;
  /** Of the numbers, where one can choose. */
  readonly type?: string;
}

/** `base` is what the base model is called. */
export function exportWords(format: ExportFormat, base: string): ExportWords {
  switch (format) {
    case "peft":
      return {
        title: "PEFT adapter",
        what: "A zip for Transformers, PEFT and vLLM, and for going on with here. It needs its base model beside it.",
        howTo: [
          "from peft import PeftModel",
          "from transformers import AutoModelForCausalLM",
          `base = AutoModelForCausalLM.from_pretrained(${JSON.stringify(base)})`,
          `model = PeftModel.from_pretrained(base, "${base}-lora")`,
        ].join("\n"),
      };
    case "gguf":
      return {
        title: "GGUF adapter",
        what: "One file and a Modelfile for llama.cpp and Ollama, beside the GGUF of the base model.",
        howTo: `llama-cli -m base.gguf --lora ${base}-lora.gguf\nollama create my-model -f ${base}-lora.Modelfile`,
      };
    case "merged":
      return {
        title: "Merged checkpoint",
        what: "Base and adapter in one, in the base's own types: a zip for Transformers, vLLM and all that reads folders of safetensors.",
        howTo: [
          "from transformers import AutoModelForCausalLM, AutoTokenizer",
          `model = AutoModelForCausalLM.from_pretrained("${base}-merged")`,
          `tokenizer = AutoTokenizer.from_pretrained("${base}-merged")`,
        ].join("\n"),
      };
    case "merged-gguf-f32":
      return wholeGguf(base, "f32", "To the number as it was trained.");
    case "merged-gguf-f16":
      return wholeGguf(base, "f16", "Half the size of F32, and hardly another model.");
    case "merged-gguf-q8_0":
      return wholeGguf(base, "q8_0", "A quarter of the size of F32, rounded to eight bits.");
    default:
      return format satisfies never;
  }
}

function wholeGguf(base: string, type: string, words: string): ExportWords {
  const name = `${base}-merged-${type}`;
  return {
    title: "Whole model as GGUF",
    type: type.toUpperCase(),
    what: `One file that llama.cpp and Ollama run alone, with its tokenizer and chat template, and a Modelfile. ${words}`,
    howTo: `llama-cli -m ${name}.gguf\nollama create my-model -f ${name}.Modelfile`,
  };
}

/** What reading an export back has shown. */
export function checkWords({ difference, allowed, moved, kept }: SelfCheck): string {
  const found =
    difference === 0
      ? "Read back: the same logits, to the bit."
      : `Read back: logits differ by ${shortNumber(difference)} of the largest; ${shortNumber(allowed)} is allowed.`;
  const lost =
    Math.abs(kept - 1) > 0.05 ? ` ${percent(kept, 1)} of that is in it: a finer form holds more.` : "";
  return `${found} Training has moved them by ${percent(moved, 1)} of the largest.${lost}`;
}
