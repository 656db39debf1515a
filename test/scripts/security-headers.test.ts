import { describe, expect, it } from "vitest";
import { securityHeaders } from "../../scripts/security-headers.mjs";

function sources(url: string, directive: string, development?: { nonce: string; host: string | undefined }) {
  const policy = securityHeaders(url, development)["Content-Security-Policy"]!;
  const found = policy.split("; ").find((part) => part.startsWith(`${directive} `));
  return found?.slice(directive.length + 1);
}

describe("the policy of a file", () => {
  it.each([
    "/assets/train-worker-cDE5Gakj.js",
    "/src/worker/train-worker.ts?worker_file&type=module",
    "/graft/assets/train-worker-x.js#a",
  ])("lets %s reach nothing", (url) => {
    expect(sources(url, "connect-src")).toBe("'none'");
    expect(sources(url, "default-src")).toBe("'none'");
  });

  it.each(["/", "/index.html?train-worker.js", "/train-worker/page.html", "/assets/download-worker-x.js"])(
    "lets %s reach its own origin",
    (url) => {
      expect(sources(url, "connect-src")).toBe("'self'");
      expect(sources(url, "script-src")).toBe("'self'");
    },
  );

  it("gives the development server its nonce and its socket, and no more", () => {
    const development = { nonce: "bm9uY2U=", host: "127.0.0.1:5173" };
    expect(sources("/", "script-src", development)).toBe("'self' 'nonce-bm9uY2U='");
    expect(sources("/", "connect-src", development)).toBe("'self' ws://127.0.0.1:5173");
    expect(sources("/src/worker/train-worker.ts", "connect-src", development)).toBe("'none'");
  });

  it("takes no host that could smuggle in a source", () => {
    const development = { nonce: "n", host: "127.0.0.1 https://elsewhere" };
    expect(sources("/", "connect-src", development)).toBe("'self'");
  });
});
