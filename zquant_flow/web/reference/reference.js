// Asks for the token, fetches the description of the API with it, and shows that; the token stays in this tab.
"use strict";

const DESCRIPTION = "api/v1/scheduler/openapi.json";
const form = document.getElementById("sign-in");
const field = document.getElementById("token");
const fault = document.getElementById("fault");

async function open_(token) {
  const answer = await fetch(DESCRIPTION, {headers: {Authorization: `Bearer ${token}`}});
  if (!answer.ok) {
    sessionStorage.removeItem("token");
    fault.textContent = answer.status === 401 ? "This token opens nothing here. 令牌无效。" : `${answer.status}`;
    return;
  }
  sessionStorage.setItem("token", token);
  form.hidden = true;
  const place = document.getElementById("reference");
  place.hidden = false;
  const reference = SwaggerUIBundle({
    domNode: place,
    spec: await answer.json(),
    deepLinking: true,
    displayOperationId: true,
    defaultModelsExpandDepth: 0,
    docExpansion: "list",
    filter: true,
    tryItOutEnabled: true,
    validatorUrl: null,
    syntaxHighlight: {activated: true},
    onComplete: () => reference.preauthorizeApiKey("HTTPBearer", token),
  });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  open_(field.value.trim());
});

const known = sessionStorage.getItem("token");
if (known) open_(known);
