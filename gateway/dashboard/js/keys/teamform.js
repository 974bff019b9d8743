// The form of a team.

import { patch, post, segment } from "../api.js";
import { formDialog } from "../dialog.js";
import { h } from "../dom.js";
import { text } from "../fields.js";
import { toast } from "../notices.js";
import { settingFields } from "./settings.js";

export function editTeam({ team = null, done }) {
  const name = text("Name", { name: "name", value: team?.name ?? "", required: true, wide: true });
  const settings = settingFields(team?.settings ?? {});
  name.control.disabled = team !== null;
  formDialog({
    title: team ? team.name : "New team",
    about: "Limits of a team hold for all its keys together.",
    fields: [h("div", { class: "fields" }, name.element, settings.fields.map((field) => field.element))],
    action: team ? "Save" : "Create team",
    async send() {
      if (team) await patch(`/teams/${segment(team.name)}`, { settings: settings.changes() });
      else await post("/teams", { name: name.value(), settings: settings.given() });
      toast("Saved");
      done();
    },
  });
}
