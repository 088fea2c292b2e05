// Uploads the files of DirectFileField to a storage server as soon as they are chosen; a form is sent when they are
// there.  Each field fires "dragonbelly:done" (detail: name, url) or "dragonbelly:failed" (detail: error), bubbling.
(() => {
  "use strict";

  const BOX = "[data-dragonbelly-upload]";
  const STALLED = 60_000; // ms without any progress after which a server has failed
  const AGAIN = [1000, 2000, 4000, 8000]; // ms between questions whose answer may come yet
  const jobs = new WeakMap(); // box → what is under way for it

  class Failed extends Error {}
  class Superseded extends Error {}

  const pause = (ms) => new Promise((done) => setTimeout(done, ms));

  function csrfToken(input) {
    const field = input.form?.querySelector("[name=csrfmiddlewaretoken]")
      ?? document.querySelector("[name=csrfmiddlewaretoken]");
    return field?.value ?? /(?:^|; )csrftoken=([^;]*)/.exec(document.cookie)?.[1] ?? "";
  }

  // A question to Django.  What it has answered with 5xx, or not at all, is asked again: nothing is done twice.
  async function ask(job, body) {
    for (let n = 0; ; n += 1) {
      let error = job.box.dataset.unreachable;
      let final = false;
      try {
        const answer = await fetch(job.box.dataset.dragonbellyUpload, {
          method: "POST",
          credentials: "same-origin",
          headers: { "Content-Type": "application/json", "X-CSRFToken": csrfToken(job.input) },
          body: JSON.stringify(body),
          redirect: "manual", // to a login: its page, perhaps of another origin, says nothing to us
          signal: job.stop.signal,
        });
        if (answer.status === 204) return {};
        const isJson = answer.headers.get("Content-Type")?.startsWith("application/json");
        const said = isJson ? await answer.json() : {};
        if (answer.ok && isJson) return said;
        error = said.error ?? `${answer.status} ${answer.statusText}`;
        if (answer.type === "opaqueredirect") error = job.box.dataset.login;
        final = answer.status < 500;
      } catch (problem) {
        if (job.stop.signal.aborted) throw new Superseded();
      }
      if (final || n >= AGAIN.length) throw new Failed(error);
      await pause(AGAIN[n]);
      if (job.stop.signal.aborted) throw new Superseded();
    }
  }

  // Whether the server took the file.
  function send(job, target, file) {
    return new Promise((done) => {
      const request = new XMLHttpRequest();
      let timer;
      const moved = () => {
        clearTimeout(timer);
        timer = setTimeout(() => request.abort(), STALLED);
      };
      const stop = () => request.abort();
      job.stop.signal.addEventListener("abort", stop);
      request.upload.onprogress = (event) => {
        moved();
        if (event.lengthComputable) job.show(event.loaded / (event.total || 1));
      };
      request.onloadend = () => {
        clearTimeout(timer);
        job.stop.signal.removeEventListener("abort", stop);
        done([200, 201, 204].includes(request.status));
      };
      request.open(target.method, target.url);
      for (const [name, value] of Object.entries(target.headers)) request.setRequestHeader(name, value);
      moved();
      // Without a type of its own: the one that counts was announced by Django.
      request.send(file.slice(0, file.size, ""));
    });
  }

  async function upload(job, file) {
    const begun = await ask(job, { name: file.name, size: file.size });
    job.upload = begun.upload;
    for (const target of begun.targets) {
      job.show(0);
      const taken = await send(job, target, file);
      if (job.stop.signal.aborted) throw new Superseded();
      if (taken) return ask(job, { complete: begun.upload });
    }
    throw new Failed(job.box.dataset.unreachable);
  }

  function forget(job) {
    if (job.upload === undefined) return;
    fetch(job.box.dataset.dragonbellyUpload, {
      method: "POST",
      credentials: "same-origin",
      keepalive: true,
      headers: { "Content-Type": "application/json", "X-CSRFToken": csrfToken(job.input) },
      body: JSON.stringify({ abort: job.upload }),
    }).catch(() => {}); // else it lapses
  }

  async function start(box, input) {
    jobs.get(box)?.stop.abort();
    jobs.delete(box);
    const hidden = box.querySelector("input[type=hidden]");
    const progress = box.querySelector("progress");
    const output = box.querySelector("output");
    hidden.value = "";
    output.textContent = "";
    progress.hidden = true;
    input.setCustomValidity("");
    const file = input.files[0];
    if (!file) return;
    const show = (part) => { progress.value = part; };
    const job = { box, input, show, stop: new AbortController(), over: false, upload: undefined };
    jobs.set(box, job);
    progress.hidden = false;
    output.textContent = box.dataset.busy;
    job.work = upload(job, file).then(
      (done) => {
        if (jobs.get(box) !== job) return;
        hidden.value = done.result;
        output.textContent = box.dataset.done;
        show(1);
        box.dispatchEvent(new CustomEvent("dragonbelly:done", { bubbles: true, detail: done }));
      },
      (problem) => {
        forget(job);
        if (problem instanceof Superseded) return;
        const error = problem instanceof Failed ? problem.message : box.dataset.unreachable;
        output.textContent = `${box.dataset.failed} ${error}`;
        progress.hidden = true;
        input.value = ""; // the same file may be chosen again
        box.dispatchEvent(new CustomEvent("dragonbelly:failed", { bubbles: true, detail: { error } }));
      },
    ).finally(() => {
      job.over = true;
    });
  }

  document.addEventListener("change", (event) => {
    const box = event.target.closest?.(BOX);
    if (box && event.target.type === "file") start(box, event.target);
  });

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    const busy = [...form.querySelectorAll(BOX)].map((box) => jobs.get(box)).filter((job) => job && !job.over);
    if (!busy.length) return;
    event.preventDefault();
    event.stopPropagation();
    if (form.dataset.dragonbellyWaits) return; // for one submit
    form.dataset.dragonbellyWaits = "yes";
    await Promise.all(busy.map((job) => job.work));
    delete form.dataset.dragonbellyWaits;
    const all = busy.every((job) => job.box.querySelector("input[type=hidden]").value);
    if (all) form.requestSubmit(event.submitter);
  }, true);
})();
