/** What each form of an export is for, and how it is loaded. */
import type { ExportFormat, SelfCheck } from "../worker/api.ts";
import { percent, shortNumber } from "./format.ts";

export interface ExportWords {
  readonly title: string;
  readonly what: string;
  /** Four lines at most. */
  readonly howTo: string;
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
    default:
      return format satisfies never;
  }
}

/** What reading an export back has shown. */
export function checkWords({ difference, allowed, moved }: SelfCheck): string {
  const found =
    difference === 0
      ? "Read back: the same logits, to the bit."
      : `Read back: logits differ by ${shortNumber(difference)} of the largest; ${shortNumber(allowed)} is allowed.`;
  return `${found} Training has moved them by ${percent(moved, 1)} of the largest.`;
}
