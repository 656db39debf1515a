import { randomBytes } from "node:crypto";
import react from "@vitejs/plugin-react";
import { type Connect, defineConfig, type Plugin } from "vite";
import { securityHeaders } from "./scripts/security-headers.mjs";

/** Sends each file with the policy that it is to run under. `nonce` is given by the development server alone. */
function security(nonce: string | undefined): Plugin {
  const sendHeaders: Connect.NextHandleFunction = (request, response, next) => {
    const development = nonce === undefined ? undefined : { nonce, host: request.headers.host };
    for (const [name, value] of Object.entries(securityHeaders(request.url ?? "/", development))) {
      response.setHeader(name, value);
    }
    next();
  };
  return {
    name: "graft:security",
    configureServer: (server) => void server.middlewares.use(sendHeaders),
    configurePreviewServer: (server) => void server.middlewares.use(sendHeaders),
  };
}

export default defineConfig(({ command, isPreview }) => {
  const development = command === "serve" && !isPreview;
  const nonce = development ? randomBytes(16).toString("base64") : undefined;
  return {
    plugins: [react(), security(nonce)],
    html: nonce === undefined ? {} : { cspNonce: nonce },
    build: {
      target: "es2023",
      // Every browser with WebGPU preloads modules by itself.
      modulePreload: { polyfill: false },
    },
    worker: { format: "es" },
    // What a worker wants is not found from the page, and would reload it. The bench has libraries of its own.
    optimizeDeps: { entries: ["index.html", "src/worker/*-worker.ts"] },
    server: { host: "127.0.0.1" },
    preview: { host: "127.0.0.1" },
  };
});
