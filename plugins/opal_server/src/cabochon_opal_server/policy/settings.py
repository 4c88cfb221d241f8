"""Where policies come from, and what of them goes into bundles."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Struct
from pydantic import BeforeValidator, Field, SecretStr

from cabochon import CommaList, Settings
from cabochon.settings.model import Masked, NotBlank, Seconds
from cabochon_opal_server.policy.reading import ReadLimits

__all__ = ["PolicySettings", "WebhookParams"]

# What a message quotes may be a secret at the wrong place.
_QUOTED = re.compile(r"'[^']*'|`[^$`][^`]*`")


class WebhookParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a webhook is read: the peer's `GitWebhookRequestParams`, with GitHub's ways as the default.

    Attributes:
        secret_header_name: the header that holds the secret.
        secret_type: "signature" for an HMAC-SHA256 of the body in hex, "token" for the secret itself.
        secret_parsing_regex: whose first group is the secret in that header.
        event_header_name: the header that names the event.
        event_request_key: the member of the body that names it, where no header does.
        push_event_value: the name of the event that means there are new commits.
        match_sender_url: whether the body has to name our repository.
    """

    secret_header_name: str = "x-hub-signature-256"  # noqa: S105 - a name
    secret_type: Literal["signature", "token"] = "signature"  # noqa: S105 - a kind of secret
    secret_parsing_regex: str = "sha256=(.*)"  # noqa: S105 - a pattern
    event_header_name: str | None = "X-GitHub-Event"
    event_request_key: str | None = None
    push_event_value: str = "push"
    match_sender_url: bool = True


def _params(value: object) -> object:
    if isinstance(value, WebhookParams):
        return value
    try:
        given: Any = json.loads(value) if isinstance(value, str) else value
        params = msgspec.convert({"event_header_name": None, **given}, WebhookParams)
        re.compile(params.secret_parsing_regex)
    except (ValueError, TypeError, RecursionError, re.error, msgspec.ValidationError) as err:
        raise ValueError(
            'should be JSON such as {"secret_header_name": "X-Gitlab-Token", "secret_type": "token", '
            '"secret_parsing_regex": "(.*)", "event_header_name": "X-Gitlab-Event", "push_event_value": "Push Hook"}: '
            f"{_QUOTED.sub('***', str(err))}"
        ) from None
    if params.event_header_name is None and params.event_request_key is None:
        raise ValueError("should name event_header_name or event_request_key")
    return params


# size: a field for each setting, and nothing else
class PolicySettings(Settings):
    """The settings of policies."""

    source_type: Literal["GIT", "API"] = Field(
        default="GIT",
        validation_alias="OPAL_POLICY_SOURCE_TYPE",
        description="Where policies come from: GIT for a repository, API for a server of bundles (bundle.tar.gz).",
    )
    watcher_enabled: bool = Field(
        default=True,
        validation_alias="OPAL_REPO_WATCHER_ENABLED",
        description="Serve policies. With false this server has none, and GET /policy is answered with 503.",
    )
    repo_url: Annotated[str | None, Masked] = Field(
        default=None,
        validation_alias="OPAL_POLICY_REPO_URL",
        description="The git repository of policies: https://, ssh:// (or user@host:path), file:// or a local folder.",
    )
    branch: str = Field(
        default="master",
        validation_alias="OPAL_POLICY_REPO_MAIN_BRANCH",
        description="The branch that is followed.",
        min_length=1,
    )
    ssh_key: SecretStr | None = Field(
        default=None,
        validation_alias="OPAL_POLICY_REPO_SSH_KEY",
        description="Private SSH key for the repository, its text; _ may stand for each newline.",
    )
    clone_path: Path | None = Field(
        default=None,
        validation_alias="OPAL_POLICY_REPO_CLONE_PATH",
        description="Folder for clones. Unset: policy_repos in OPAL_BASE_DIR.",
    )
    clone_prefix: str = Field(
        default="opal_repo_clone",
        validation_alias="OPAL_POLICY_REPO_CLONE_FOLDER_PREFIX",
        description="What the names of clones begin with; a hash of the repository's URL follows.",
        pattern=r"^[^/]+$",
    )
    reuse_clone: bool = Field(
        default=True,
        validation_alias="OPAL_POLICY_REPO_REUSE_CLONE_PATH",
        description="Accepted because OPAL has it, and without effect: a clone is used again after a restart.",
    )
    clone_timeout: Seconds = Field(
        default=timedelta(0),
        validation_alias="OPAL_POLICY_REPO_CLONE_TIMEOUT",
        description="Time that one look at the repository may take; 0 for no limit but those of the network.",
        ge=timedelta(0),
    )
    policy_entries: int = Field(
        default=250_000,
        validation_alias="OPAL_POLICY_MAX_ENTRIES",
        description="Files and folders that a commit or a bundle may have, with the lines of its manifests. One that "
        "has more is not read, and the last that was good is served.",
        ge=1,
    )
    max_bytes: int = Field(
        default=512 * 1024 * 1024,
        validation_alias="OPAL_POLICY_MAX_BYTES",
        description="Bytes that the files of a commit or a bundle that count may have together; a bundle unpacks to "
        "four times as many at most.",
        ge=1024,
    )
    max_depth: int = Field(
        default=128,
        validation_alias="OPAL_POLICY_MAX_DEPTH",
        description="Folders of a commit or a bundle that may lie in each other.",
        ge=1,
        le=500,
    )
    read_timeout: Seconds = Field(
        default=timedelta(minutes=5),
        validation_alias="OPAL_POLICY_READ_TIMEOUT",
        description="Time that reading a commit or a bundle may take once it is here.",
        gt=timedelta(0),
    )
    bundle_cache: int = Field(
        default=128 * 1024 * 1024,
        validation_alias="OPAL_POLICY_BUNDLE_CACHE_BYTES",
        description="Bytes of the bundles made last that are kept for who asks for the same; one is kept in any case.",
        ge=0,
    )
    polling_interval: Seconds = Field(
        default=timedelta(0),
        validation_alias="OPAL_POLICY_REPO_POLLING_INTERVAL",
        description="Time between two looks for new commits or bundles; 0 to look only when the webhook asks for it.",
        ge=timedelta(0),
    )
    manifest_path: str = Field(
        default="",
        validation_alias="OPAL_POLICY_REPO_MANIFEST_PATH",
        description="Folder whose .manifest gives the order of the bundle, or that file itself. Empty: the root's.",
    )
    extensions: CommaList = Field(
        default=(".rego", ".json"),
        validation_alias="OPAL_FILTER_FILE_EXTENSIONS",
        description="Extensions of files that may be in a bundle, separated by commas.",
    )
    policy_extensions: CommaList = Field(
        default=(".rego",),
        validation_alias="OPAL_POLICY_REPO_POLICY_EXTENSIONS",
        description="Extensions of files that are policies, separated by commas; data is what is named data.json.",
    )
    ignored: CommaList = Field(
        default=(),
        validation_alias="OPAL_BUNDLE_IGNORE",
        description="Patterns of paths to leave out, separated by commas: folder/** for all below a folder, else * for "
        "any part of a name.",
    )
    webhook_secret: Annotated[SecretStr | None, NotBlank] = Field(
        default=None,
        validation_alias="OPAL_POLICY_REPO_WEBHOOK_SECRET",
        description="Secret that POST /webhook has to know. Unset: everyone may make the server look for commits.",
    )
    largest_webhook: int = Field(
        default=25 * 1024 * 1024,
        validation_alias="OPAL_WEBHOOK_MAX_BYTES",
        description="Bytes that the body of a webhook may have: GitHub's limit. Two that large may come at once.",
        ge=1024,
    )
    webhook_enforces_branch: bool = Field(
        default=False,
        validation_alias="OPAL_POLICY_REPO_WEBHOOK_ENFORCE_BRANCH",
        description="Ignore webhooks of other branches than the one that is followed.",
    )
    webhook_params: Annotated[WebhookParams, BeforeValidator(_params), Masked] = Field(
        default=WebhookParams(),
        validation_alias="OPAL_POLICY_REPO_WEBHOOK_PARAMS",
        description="How webhooks are read, as JSON; the default is GitHub's. See docs/how-to/run-a-server.md.",
    )
    bundle_url: Annotated[str | None, Masked] = Field(
        default=None,
        validation_alias="OPAL_POLICY_BUNDLE_URL",
        description="With OPAL_POLICY_SOURCE_TYPE=API: the URL below which bundle.tar.gz is.",
    )
    bundle_server_type: Literal["HTTP", "AWS-S3"] = Field(
        default="HTTP",
        validation_alias="OPAL_POLICY_BUNDLE_SERVER_TYPE",
        description="How that server knows us: HTTP by a bearer token, AWS-S3 by a signature (needs botocore).",
    )
    bundle_token: SecretStr | None = Field(
        default=None,
        validation_alias="OPAL_POLICY_BUNDLE_SERVER_TOKEN",
        description="Token of that server; with AWS-S3 the secret access key.",
    )
    bundle_token_id: str | None = Field(
        default=None,
        validation_alias="OPAL_POLICY_BUNDLE_SERVER_TOKEN_ID",
        description="With AWS-S3 the access key's id.",
    )
    bundle_region: str = Field(
        default="us-east-1",
        validation_alias="OPAL_POLICY_BUNDLE_SERVER_AWS_REGION",
        description="With AWS-S3 the bucket's region.",
    )

    @property
    def limits(self) -> ReadLimits:
        """How much of a commit or a bundle is read."""
        return ReadLimits(
            entries=self.policy_entries,
            size=self.max_bytes,
            depth=self.max_depth,
            seconds=self.read_timeout.total_seconds(),
        )
