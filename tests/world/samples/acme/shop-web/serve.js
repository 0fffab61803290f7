// Serves the page and forwards the API, for development.
import { createServer, request } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";

const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };

createServer(async (incoming, outgoing) => {
  const path = new URL(incoming.url, "http://localhost").pathname;
  if (path.startsWith("/carts") || path === "/products") {
    const options = { port: 8080, path: incoming.url, method: incoming.method, headers: incoming.headers };
    const forwarded = request(options, (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    });
    forwarded.on("error", () => outgoing.writeHead(502).end());
    return void incoming.pipe(forwarded);
  }
  try {
    const file = join(import.meta.dirname, normalize(path === "/" ? "/index.html" : path));
    const text = await readFile(file);
    outgoing.writeHead(200, { "content-type": types[extname(file)] ?? "text/plain" }).end(text);
  } catch {
    outgoing.writeHead(404).end();
  }
}).listen(8000, "127.0.0.1");
