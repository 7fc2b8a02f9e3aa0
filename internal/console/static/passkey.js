// A form with data-passkey asks for a passkey before it is sent. What is asked comes from
// the address in data-ask, with the form's own value; the answer goes into the field
// "answer". Without script such a form stays hidden, and every other way works.
"use strict";
(() => {
  if (!window.PublicKeyCredential || !navigator.credentials) return;
  const bytes = (s) => {
    const raw = atob(s.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(raw, (c) => c.charCodeAt(0)).buffer;
  };
  const text = (b) => {
    if (!b) return undefined;
    let raw = "";
    for (const x of new Uint8Array(b)) raw += String.fromCharCode(x);
    return btoa(raw).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  };
  const listed = (list) => (list || []).map((c) => ({ ...c, id: bytes(c.id) }));
  const ask = async (form) => {
    const body = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (name !== "answer") body.append(name, value);
    const got = await fetch(form.dataset.ask, { method: "POST", body, credentials: "same-origin" });
    if (!got.ok) throw new Error(await got.text());
    return got.json();
  };
  const make = async (o) => {
    o.challenge = bytes(o.challenge);
    o.user.id = bytes(o.user.id);
    o.excludeCredentials = listed(o.excludeCredentials);
    const c = await navigator.credentials.create({ publicKey: o });
    return {
      id: c.id, rawId: text(c.rawId), type: c.type, clientExtensionResults: c.getClientExtensionResults(),
      authenticatorAttachment: c.authenticatorAttachment || undefined,
      response: {
        clientDataJSON: text(c.response.clientDataJSON), attestationObject: text(c.response.attestationObject),
        transports: c.response.getTransports ? c.response.getTransports() : undefined,
      },
    };
  };
  const use = async (o) => {
    o.challenge = bytes(o.challenge);
    o.allowCredentials = listed(o.allowCredentials);
    const c = await navigator.credentials.get({ publicKey: o });
    return {
      id: c.id, rawId: text(c.rawId), type: c.type, clientExtensionResults: c.getClientExtensionResults(),
      authenticatorAttachment: c.authenticatorAttachment || undefined,
      response: {
        clientDataJSON: text(c.response.clientDataJSON), authenticatorData: text(c.response.authenticatorData),
        signature: text(c.response.signature), userHandle: text(c.response.userHandle),
      },
    };
  };
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    const said = form.querySelector("[role=alert]");
    form.hidden = false;
    form.addEventListener("submit", async (e) => {
      e.preventDefault();
      said.textContent = "";
      try {
        const options = await ask(form);
        const answer = await (form.dataset.passkey === "make" ? make(options) : use(options));
        form.elements.answer.value = JSON.stringify(answer);
        form.submit();
      } catch (err) {
        said.textContent = err.name === "NotAllowedError" || err.name === "AbortError" ? form.dataset.ended : err.name === "InvalidStateError" ? form.dataset.known : err.message;
      }
    });
  }
})();
