// The request that was just sent, as curl, Python and JavaScript. The key is a variable, never its text.

import { key } from "./api.js";
import { byId, el, say } from "./dom.js";

const LANGUAGES = { curl, Python: python, JavaScript: javascript };
let chosen = "curl";

export function showSnippets(body) {
  const url = new URL("v1/rag", document.baseURI).href;
  const code = el("code");
  const draw = () => (code.textContent = LANGUAGES[chosen](url, body, Boolean(key.get())));
  const tabs = Object.keys(LANGUAGES).map((name) =>
    el("button.quiet.small", {
      type: "button",
      "aria-pressed": String(name === chosen),
      onclick: (event) => {
        chosen = name;
        for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab === event.currentTarget));
        draw();
      },
    }, name));
  const copy = el("button.quiet.small", {
    type: "button",
    onclick: async () => {
      await navigator.clipboard.writeText(code.textContent);
      copy.textContent = "Copied";
      say("Copied");
      setTimeout(() => (copy.textContent = "Copy"), 1500);
    },
  }, "Copy");
  draw();
  const card = byId("code");
  card.hidden = false;
  card.replaceChildren(
    el("header", {}, el("h2", { id: "code-title" }, "The same from code"),
      el("div.row", { role: "group", "aria-label": "Language" }, tabs, copy)),
    el("pre", { tabindex: "0", "aria-label": "The request as code" }, code));
}

function curl(url, body, keyed) {
  const auth = keyed ? ` \\\n  -H "authorization: Bearer $TIFFIN_API_KEY"` : "";
  return `curl -N ${url} \\\n  -H 'content-type: application/json'${auth} \\\n  -d @- <<'JSON'\n${JSON.stringify(body, null, 2)}\nJSON`;
}

function python(url, body, keyed) {
  const imports = keyed ? "import json\nimport os\nimport urllib.request" : "import json\nimport urllib.request";
  const auth = keyed ? `,\n    "authorization": f"Bearer {os.environ['TIFFIN_API_KEY']}",\n}` : "}";
  const open = keyed ? "{\n    " : "{";
  return `${imports}\n\nbody = ${literal(body)}\nheaders = ${open}"content-type": "application/json"${auth}\n` +
    `request = urllib.request.Request("${url}", json.dumps(body).encode(), headers)\n` +
    `with urllib.request.urlopen(request) as answer:\n    for line in answer:\n        if line.startswith(b"data: {"):\n            print(json.loads(line[6:]))`;
}

function javascript(url, body, keyed) {
  const auth = keyed ? ", authorization: `Bearer ${process.env.TIFFIN_API_KEY}`" : "";
  return `const response = await fetch("${url}", {\n  method: "POST",\n  headers: { "content-type": "application/json"${auth} },\n` +
    `  body: JSON.stringify(${indented(JSON.stringify(body, null, 2))}),\n});\n` +
    `for await (const text of response.body.pipeThrough(new TextDecoderStream())) {\n  console.log(text); // "data: {...}", one event after the other\n}`;
}

const indented = (text) => text.replaceAll("\n", "\n  ");

/** JSON is Python, except for three words. Strings are left as they are. */
function literal(body) {
  const words = { true: "True", false: "False", null: "None" };
  return JSON.stringify(body, null, 4).replace(/"(?:[^"\\]|\\.)*"|\b(?:true|false|null)\b/g, (part) => words[part] ?? part);
}
