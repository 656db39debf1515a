// Who may reach the network. A page's policy does not bind its workers: a worker obeys the headers of its own script,
// so the training worker, which holds the user's data, is served a policy of its own, and is known by its file name.

/** The built file is assets/train-worker-<hash>.js; the development server serves src/worker/train-worker.ts. */
const trainWorkerFile = /^train-worker[^/]*\.(js|ts)$/;

/** @param {Record<string, string>} directives */
function policy(directives) {
  return Object.entries(directives)
    .map(([name, sources]) => `${name} ${sources}`)
    .join("; ");
}

/**
 * @typedef {object} DevelopmentNeeds  what Vite's development server needs beyond the built page
 * @property {string} nonce  marks the scripts and styles that Vite puts into the page itself
 * @property {string | undefined} host  where hot updates come from, "127.0.0.1:5173"
 */

/** @param {DevelopmentNeeds} [development] */
export function pagePolicy(development) {
  const nonce = development ? ` 'nonce-${development.nonce}'` : "";
  // Not every browser counts a websocket to the page's own origin as 'self'.
  const host = development?.host;
  const updates = host && /^[\w.:[\]-]+$/.test(host) ? ` ws://${host}` : "";
  return policy({
    "default-src": "'none'",
    "script-src": `'self'${nonce}`,
    "style-src": `'self'${nonce}`,
    "img-src": "'self' data: blob:",
    "font-src": "'self'",
    "manifest-src": "'self'",
    "worker-src": "'self'",
    "connect-src": `'self'${updates}`,
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
  });
}

/**
 * It may load its own modules and nothing else: no request, no socket, no worker with another policy. A worker that it
 * makes from a blob is under this very policy; chat templates run in one (src/worker/templates.ts).
 */
export function trainWorkerPolicy() {
  return policy({
    "default-src": "'none'",
    "script-src": "'self'",
    "connect-src": "'none'",
    "worker-src": "blob:",
  });
}

/**
 * @param {string} url  as in the request line
 * @param {DevelopmentNeeds} [development]
 * @returns {Record<string, string>}
 */
export function securityHeaders(url, development) {
  const path = url.replace(/[?#].*$/, "");
  const file = path.slice(path.lastIndexOf("/") + 1);
  return {
    "Content-Security-Policy": trainWorkerFile.test(file) ? trainWorkerPolicy() : pagePolicy(development),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
  };
}
