/**
 * The worker that holds the user's data. It is served with a policy of its own that leaves it no way to the network;
 * the policy goes by this file's name (scripts/security-headers.mjs).
 */
import { expose } from "comlink";
import { requestBrowserDevice } from "./device.ts";
import { ExportStore } from "./exportStore.ts";
import { TrainHost } from "./host.ts";
import { startTemplateWorker } from "./templates.ts";

// Over a way that browsers do not trust there is no disk for the page, and no GPU either.
const store = new ExportStore(isSecureContext ? () => navigator.storage.getDirectory() : undefined);
void store.sweep();
expose(new TrainHost(requestBrowserDevice, startTemplateWorker, store));
