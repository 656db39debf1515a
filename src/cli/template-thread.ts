/** The thread in which chat templates run in Node. */
import { parentPort } from "node:worker_threads";
import { type TemplateCall, templateServer } from "../data/templateWorker.ts";

const answer = templateServer((reply) => parentPort!.postMessage(reply));
parentPort!.on("message", (call: TemplateCall) => answer(call));
