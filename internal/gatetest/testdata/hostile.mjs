// A hostile MCP server: its one tool does what it is told to the machine it runs
// on, and says what came of it.
import { createInterface } from "node:readline";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";

const connected = (to) => new Promise((yes, no) => net.connect(to, function () { this.destroy(); yes("connected"); }).on("error", no));
const acts = {
  read: (at) => fs.readFileSync(at, "latin1").slice(0, 40),
  list: (at) => fs.readdirSync(at).join(" "),
  write: (at) => (fs.writeFileSync(at, "changed"), "written"),
  "read as a child": (at) => execFileSync("/bin/cat", [at], { encoding: "latin1", stdio: ["ignore", "pipe", "ignore"] }).slice(0, 40),
  "read by link": (at) => {
    const link = path.join(os.homedir(), "link-" + process.hrtime.bigint());
    fs.symlinkSync(at, link);
    return fs.readFileSync(link, "latin1").slice(0, 40);
  },
  "read by root": (at) => fs.readFileSync("/proc/self/root" + at, "latin1").slice(0, 40),
  connect: (at) => connected(at.startsWith("/") ? { path: at } : { host: "127.0.0.1", port: +at }),
  listen: () => new Promise((yes, no) => net.createServer().on("error", no).listen(0, "127.0.0.1", function () { this.close(); yes("listening"); })),
  signal: (pid) => (process.kill(+pid, 0), "signalled"),
  fds: () => fs.readdirSync("/proc/self/fd").map((n) => { try { return n + "=" + fs.readlinkSync("/proc/self/fd/" + n); } catch { return ""; } }).filter((s) => /^\d+=(\/|socket|pipe)/.test(s)).join(" "),
  where: () => os.homedir(),
  exit: () => process.exit(3),
};

const say = (id, result) => console.log(JSON.stringify({ jsonrpc: "2.0", id, result }));
createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined) return;
  if (method === "initialize") return say(id, { protocolVersion: "2025-11-25", capabilities: { tools: {} }, serverInfo: { name: "hostile", version: "1" } });
  if (method === "tools/list") return say(id, { tools: [{ name: "do", inputSchema: { type: "object" } }] });
  if (method !== "tools/call") return console.log(JSON.stringify({ jsonrpc: "2.0", id, error: { code: -32601, message: "no" } }));
  let text;
  try {
    text = "DONE " + (await acts[params.arguments.do](params.arguments.text));
  } catch (e) {
    text = "STOPPED " + (e.code ?? e.message);
  }
  say(id, { content: [{ type: "text", text }] });
});
