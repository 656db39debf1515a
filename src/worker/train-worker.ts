/**
 * The worker that holds the user's data. It is served with a policy of its own that leaves it no way to the network;
 * the policy goes by this file's name (scripts/security-headers.mjs).
 */
import { expose } from "comlink";
import { requestBrowserDevice } from "./device.ts";
import { TrainHost } from "./host.ts";
import { startTemplateWorker } from "./templates.ts";

expose(new TrainHost(requestBrowserDevice, startTemplateWorker));
