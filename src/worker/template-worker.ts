/** The worker in which chat templates run: strangers' programs, ended where they do not end by themselves. */
import { type TemplateCall, templateServer } from "../data/templateWorker.ts";

const answer = templateServer((reply) => postMessage(reply));
addEventListener("message", ({ data }: MessageEvent<TemplateCall>) => answer(data));
// What is sent before somebody listens is lost.
postMessage("listening");
