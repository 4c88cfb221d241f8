"""From the settings to the repository that they name."""

from __future__ import annotations

import math
from pathlib import Path

from cabochon import ConfigurationError
from cabochon_opal_server.policy.bundle_rules import BundleRules
from cabochon_opal_server.policy.repository import PolicyRepository
from cabochon_opal_server.policy.settings import PolicySettings

__all__ = ["clones_of", "repository_of"]


def repository_of(settings: PolicySettings, base_dir: Path) -> PolicyRepository | None:
    """Create the repository, None if no policies are to be served.

    Raises:
        ConfigurationError: the settings do not fit together.
    """
    if not settings.watcher_enabled:
        return None
    rules = BundleRules(
        extensions=frozenset(settings.extensions),
        policy_extensions=frozenset(settings.policy_extensions),
        ignored=settings.ignored,
        manifest=settings.manifest_path,
    )
    return _git(settings, rules, base_dir) if settings.source_type == "GIT" else _bundles(settings, rules)


def clones_of(settings: PolicySettings, base_dir: Path) -> Path:
    """Return the folder for clones."""
    return (settings.clone_path or base_dir / "policy_repos").expanduser()


def _git(settings: PolicySettings, rules: BundleRules, base_dir: Path) -> PolicyRepository | None:
    if settings.repo_url is None:
        return None
    from cabochon_opal_server.policy.git_repository import GitRepository, clone_folder  # noqa: PLC0415 - git is large

    base = clones_of(settings, base_dir)
    return GitRepository(
        settings.repo_url,
        settings.branch,
        clone_folder(base, settings.clone_prefix, settings.repo_url),
        rules,
        ssh_key=None if settings.ssh_key is None else settings.ssh_key.get_secret_value(),
        timeout_s=settings.clone_timeout.total_seconds() or math.inf,
        limits=settings.limits,
    )


def _bundles(settings: PolicySettings, rules: BundleRules) -> PolicyRepository | None:
    if settings.bundle_url is None:
        return None
    from cabochon_opal_server.policy.bundle_server import BundleServer, Credentials  # noqa: PLC0415 - so is httpx

    by_signature = settings.bundle_server_type == "AWS-S3"
    if by_signature and (settings.bundle_token is None or settings.bundle_token_id is None):
        raise ConfigurationError(
            "OPAL_POLICY_BUNDLE_SERVER_TYPE=AWS-S3 needs OPAL_POLICY_BUNDLE_SERVER_TOKEN_ID and "
            "OPAL_POLICY_BUNDLE_SERVER_TOKEN: an access key's id and secret"
        )
    credentials = Credentials(
        token=None if settings.bundle_token is None else settings.bundle_token.get_secret_value(),
        token_id=settings.bundle_token_id,
        region=settings.bundle_region if by_signature else None,
    )
    credentials.headers(settings.bundle_url)
    return BundleServer(settings.bundle_url, credentials, rules, settings.limits)
