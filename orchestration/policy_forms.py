"""The fields of who looks at plans and results, as a goal's and a schedule's forms have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms

from .policies import DEFAULT_HOURS, MOST_HOURS, policy_of
from .states import ReviewedBy, ReviewWhen

APPROVE = [
    ("never", "No plan"),
    ("protected", "Plans that may touch protected paths, or ask for network"),
    ("always", "Every plan"),
]
EXPIRY = [("reject", "the goal ends"), ("pause", "the goal is paused")]


class PolicyFields(forms.Form):
    """What is left empty is as by default."""

    review_when = forms.ChoiceField(label="Review", choices=ReviewWhen.choices, required=False)
    reviewed_by = forms.ChoiceField(label="Reviewed by", choices=ReviewedBy.choices, required=False)
    ask_below = forms.FloatField(
        label="Ask a person below a confidence of", required=False, min_value=0, max_value=1, help_text="0 to 1"
    )
    approve = forms.ChoiceField(label="A person approves", choices=APPROVE, required=False)
    approve_above = forms.CharField(
        label="Ask above a forecast of",
        required=False,
        help_text="USD. A forecast that is not known is asked about, too",
    )
    four_eyes = forms.BooleanField(label="Who wanted or edited a plan may not approve it", required=False)
    approval_hours = forms.IntegerField(
        label="Hours to decide",
        required=False,
        min_value=1,
        max_value=MOST_HOURS,
        help_text=f"{DEFAULT_HOURS} if empty",
    )
    on_expiry = forms.ChoiceField(label="When nobody decides", choices=EXPIRY, required=False)

    def review(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in ("review_when", "reviewed_by", "ask_below")}

    def approval(self, protected: Iterable[str] = ()) -> dict[str, Any]:
        """The policy that was chosen. `protected`: paths that were declared earlier, which no form shows, come along."""
        said = self.cleaned_data
        return {
            "policy": said["approve"] or "never",
            "above_usd": said["approve_above"].strip(),
            "four_eyes": said["four_eyes"],
            "hours": said["approval_hours"] or DEFAULT_HOURS,
            "on_expiry": said["on_expiry"] or "reject",
            "protected": list(protected),
        }


def first_review(review: Mapping[str, Any]) -> dict[str, Any]:
    """What the fields hold at first. `review`: what is stored, or nothing."""
    return {
        "review_when": review.get("review_when") or ReviewWhen.FINAL.value,
        "reviewed_by": review.get("reviewed_by") or ReviewedBy.LLM.value,
        "ask_below": review.get("ask_below") or None,
    }


def first_approval(approval: Mapping[str, Any]) -> dict[str, Any]:
    """What the fields hold at first. `approval`: what is stored, or nothing."""
    policy = policy_of(approval)
    return {
        "approve": policy.policy,
        "approve_above": policy.above_usd,
        "four_eyes": policy.four_eyes,
        "approval_hours": policy.hours,
        "on_expiry": policy.on_expiry,
    }
