"""An exported folder to a repository of the Hugging Face hub, by its own client and login."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import validate_repo_id

from mibias_cli.backbone.weights.network import require_network
from mibias_cli.errors import BackboneError, ExportError, shortened

__all__ = ["HubTarget", "files_to_push", "push"]

_LONGEST = 300


@dataclass(frozen=True, kw_only=True)
class HubTarget:
    """A repository of the hub, and who may see it.

    Args:
        name: ORG/NAME.
        public: Whether everybody may see what is pushed.
        endpoint: Address of the hub.
    """

    name: str
    public: bool = False
    endpoint: str

    @classmethod
    def of(cls, name: str, *, public: bool) -> HubTarget:
        """A repository by its name.

        Raises:
            ExportError: The name is none that the hub takes.
        """
        shown = shortened(name)[0]
        if name.count("/") != 1:
            raise ExportError(f"--push-to-hub {shown}: is no ORG/NAME: name the user or organisation, too")
        try:
            validate_repo_id(name)
        except HFValidationError as error:
            # the client's own words name arguments of its functions
            raise ExportError(
                f"--push-to-hub {shown}: is no name that the hub takes: letters, digits, '-', '_' and '.', none of the "
                "last two first or last, neither '--' nor '..', at most 96 in all"
            ) from error
        return cls(name=name, public=public, endpoint=os.environ.get("HF_ENDPOINT") or "https://huggingface.co")

    @property
    def url(self) -> str:
        """Its page."""
        return f"{self.endpoint.rstrip('/')}/{self.name}"

    def check(self) -> None:
        """Look whether pushing can work, before anything is exported; nothing is written there.

        Raises:
            ExportError: There is no login, the hub does not answer, or the repository shows to everybody what was not
                to be shown.
        """
        if get_token() is None:
            raise ExportError(
                f"{self.name}: no login to the hub: `hf auth login`, or set HF_TOKEN; nothing was exported"
            )
        try:
            require_network(self.endpoint, what=self.name)
            found = self.api().model_info(self.name)
        except RepositoryNotFoundError:
            return  # it will be made
        except BackboneError as error:
            raise ExportError(f"{error}; nothing was exported") from error
        except Exception as error:  # what its client raises differs between its versions
            raise ExportError(f"{self.name}: the hub refuses: {_line(error)}; nothing was exported") from error
        if not found.private and not self.public:
            raise ExportError(
                f"{self.name}: is there and public, so everybody would see what is pushed: pass --public, or choose "
                "another name; nothing was exported"
            )

    def api(self) -> HfApi:
        """The hub's client, for this hub."""
        return HfApi(endpoint=self.endpoint, library_name="mibias")


def files_to_push(folder: Path) -> list[tuple[str, int]]:
    """Each file of an export by its path in the repository, with its size in bytes."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in files]


def push(folder: Path, target: HubTarget) -> str:
    """Make the repository where it is not there, and upload a folder as one commit.

    Returns:
        The address of its page.

    Raises:
        ExportError: The hub cannot be reached or refuses; the folder stays as it is.
    """
    api = target.api()
    try:
        api.create_repo(target.name, private=not target.public, exist_ok=True)
        api.upload_folder(repo_id=target.name, folder_path=folder, commit_message="Export by mibias")
    except Exception as error:  # what its client raises differs between its versions
        # by itself the hub's command makes a repository that everybody sees
        again = shlex.join(["hf", "upload", target.name, str(folder), *([] if target.public else ["--private"])])
        raise ExportError(
            f"{target.name}: not pushed: {_line(error)}; the export is whole in {folder}, and `{again}` tries again"
        ) from error
    return target.url


def _line(error: Exception) -> str:
    """What a client says over several lines, as one."""
    return shortened(" ".join(str(error).split()) or type(error).__name__, most=_LONGEST)[0]
