// The playground's virtual key: kept as long as the tab is open, and sent to the gateway only.

const NAME = "sluice.playground-key";
let kept = null;

export function keepKey(secret) {
  kept = secret;
  try {
    if (secret) sessionStorage.setItem(NAME, secret);
    else sessionStorage.removeItem(NAME);
  } catch {
    // Without storage it is kept until the page is loaded anew.
  }
}

export function keptKey() {
  try {
    return kept ?? sessionStorage.getItem(NAME) ?? "";
  } catch {
    return kept ?? "";
  }
}
