// Talking to the server: JSON both ways, and the stream of a reply.

/** What the server refused: `message`, what to do about it in `hint`, and the status (0: no answer at all). */
export class Refused extends Error {
  constructor(status, message, hint) {
    super(message);
    this.status = status;
    this.hint = hint ?? "";
  }
}

/** GET: the answer as JSON and its status (202: not ready yet). */
export async function get(path, query = {}, signal) {
  const asked = new URLSearchParams(Object.entries(query).filter(([, v]) => v !== null && v !== undefined));
  const answer = await ask(`${path}${asked.size ? `?${asked}` : ""}`, { signal });
  return { status: answer.status, body: await answer.json() };
}

/** POST: the answer as JSON. */
export async function post(path, body, signal) {
  return (await send(path, body, signal)).json();
}

/** POST: the answer as a file. */
export async function postForFile(path, body) {
  return (await send(path, body)).blob();
}

/** POST that answers with server-sent events; `on(name, data)` for each. Ends when the stream does; aborting cancels the work. */
export async function stream(path, body, on, signal) {
  const answer = await send(path, body, signal);
  const parser = eventParser(on);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parser(value);
  }
}

/** Takes a stream's text in pieces cut anywhere and calls `on(name, data)` for each whole event. */
export function eventParser(on) {
  let rest = "";
  let name = "message";
  let data = [];
  return (text) => {
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (data.length) on(name, JSON.parse(data.join("\n")));
        name = "message";
        data = [];
      } else if (line.startsWith("event:")) name = line.slice(6).trim();
      else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
      // Lines that begin with a colon are the server's heartbeat.
    }
  };
}

const send = (path, body, signal) =>
  ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal });

async function ask(path, init) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", cache: "no-store", ...init });
  } catch (e) {
    if (e.name === "AbortError") throw e;
    throw new Refused(0, "The server does not answer.", "Is `personascope serve` still running? If it was started again, open the address it printed.");
  }
  if (answer.ok) return answer;
  let said = {};
  try {
    said = await answer.json();
  } catch {
    // Not one of our answers: the status has to do.
  }
  throw new Refused(answer.status, said.error ?? `The server answered ${answer.status}.`, said.hint);
}
