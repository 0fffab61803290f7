// Shows the feed of one channel for one person, follows it, and sends what the person does.
const query = new URLSearchParams(location.search);
let channel = query.get("channel") || "ai-agents", user = query.get("user") || "ana";
let shown = "", openView = "";
const read = {};
const $ = (id) => document.getElementById(id);

async function send(path, body) {
  try {
    const answer = await (await fetch("/slack/" + path, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
    })).json();
    if (!answer.ok) toast(answer.error);
  } catch { toast("The world does not answer."); }
  await refresh();
}

function toast(text) {
  $("toast").textContent = text;
  $("toast").classList.add("on");
  setTimeout(() => $("toast").classList.remove("on"), 5000);
}

function visit(name) {
  channel = name;
  const url = new URL(location);
  url.searchParams.set("channel", channel);
  url.searchParams.set("user", user);
  history.replaceState(null, "", url);
}

function option(value, text) {
  const made = document.createElement("option");
  made.value = value;
  made.textContent = text;
  return made;
}

async function refresh() {
  let feed;
  try {
    feed = await (await fetch(`/slack/feed?channel=${encodeURIComponent(channel)}&user=${encodeURIComponent(user)}`)).json();
  } catch {
    $("note").textContent = "disconnected";
    return;
  }
  $("note").textContent = "";
  $("title").textContent = "# " + feed.channel.name;
  $("text").placeholder = `Message #${feed.channel.name}, or /agent status`;
  read[feed.channel.id] = feed.channels.find((c) => c.id === feed.channel.id).count;
  const people = $("user");
  if (people.options.length !== feed.people.length) {
    people.replaceChildren(...feed.people.map((p) => option(p.id, p.real_name)));
  }
  people.value = feed.user;
  $("channels").replaceChildren(...feed.channels.map((c) => {
    const link = document.createElement("a"), unread = c.count - (read[c.id] || 0);
    link.href = "?channel=" + encodeURIComponent(c.name);
    link.textContent = "# " + c.name;
    link.dataset.channel = c.name;
    link.className = c.id === feed.channel.id ? "here" : unread > 0 ? "unread" : "";
    if (link.className === "unread") {
      const count = document.createElement("i");
      count.textContent = unread;
      link.append(count);
    }
    return link;
  }));
  if (shown !== feed.html) {
    const list = $("feed"), atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
    // What somebody is typing into a message outlives the news around it.
    const typed = [...list.querySelectorAll("textarea[name]")].filter((f) => f.value)
      .map((f) => [f.closest("article").dataset.ts, f.name, f.value]);
    // The server escapes everything that people and the app wrote.
    list.innerHTML = feed.html || `<div class="empty">Nothing here yet.</div>`;
    for (const [ts, name, value] of typed) {
      for (const f of list.querySelectorAll(`article[data-ts="${ts}"] textarea[name]`)) if (f.name === name) f.value = value;
    }
    if (atEnd || !shown) list.scrollTop = list.scrollHeight;
    shown = feed.html;
  }
  const view = feed.views[feed.views.length - 1], state = view ? view.id + view.html : "";
  if (state !== openView) {
    openView = state;
    if (view) {
      $("modal").dataset.view = view.id;
      $("modal").firstElementChild.innerHTML = view.html;
      if (!$("modal").open) $("modal").showModal();
    } else $("modal").close();
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-channel]");
  if (link) {
    event.preventDefault();
    visit(link.dataset.channel);
    shown = "";
    return void refresh();
  }
  if (event.target.closest("[data-close]")) return void send("close", { view: $("modal").dataset.view });
  const button = event.target.closest("[data-action]");
  if (!button || !button.dataset.ts) return;
  if (button.dataset.confirm && !confirm(button.dataset.confirm)) return;
  button.disabled = true;
  const fields = [...button.closest("article").querySelectorAll("textarea[name]")];
  const values = Object.fromEntries(fields.filter((f) => f.value.trim()).map((f) => [f.name, f.value]));
  send("click", { user, ts: button.dataset.ts, action_id: button.dataset.action, values }).then(() => { button.disabled = false; });
});

$("modal").addEventListener("cancel", () => send("close", { view: $("modal").dataset.view }));
$("modal").firstElementChild.addEventListener("submit", (event) => {
  event.preventDefault();
  const values = Object.fromEntries([...new FormData(event.target)].filter(([, value]) => value !== ""));
  send("submit", { view: $("modal").dataset.view, values });
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  $("text").value = "";
  if (text) send("say", { user, channel, text });
});
$("user").addEventListener("change", () => {
  user = $("user").value;
  visit(channel);
  refresh();
});
setInterval(refresh, 1000);
refresh();
