/**
 * The worker that holds the user's data. It is served with a policy of its own that leaves it no way to the network;
 * the policy goes by this file's name (scripts/security-headers.mjs).
 */
import { expose } from "comlink";
import { requestBrowserDevice } from "./device.ts";
import { ExportStore } from "./exportStore.ts";
import { TrainHost } from "./host.ts";
import { startTemplateWorker } from "./templates.ts";

const store = new ExportStore(() => navigator.storage.getDirectory());
void store.sweep();
expose(new TrainHost(requestBrowserDevice, startTemplateWorker, store));
