"""The audit log."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from service.api.pagination import Cursor, Page, PageLimit, decode_cursor, paginate
from service.api.scopes import requires
from service.api.services import Services
from service.store import audit
from service.store.tokens import ADMIN

router = APIRouter(tags=["access"])


class AuditEntryResponse(BaseModel):
    """A change, or a rejected attempt by an authenticated client."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    created_at: datetime = Field(validation_alias="at")
    actor: str = Field(description="Name of the token, or the origin of the change.")
    action: str = Field(examples=["DELETE /runs/{run_id}"])
    target: str = Field(examples=["/runs/3"])
    outcome: str = Field(description="HTTP status of the response, or `done`.")
    request_id: str | None


@router.get("/audit", summary="List changes, newest first")
@requires(ADMIN)
def list_audit(
    services: Services, limit: PageLimit = 50, cursor: Cursor = None
) -> Page[AuditEntryResponse]:
    """Entries are never deleted."""
    before_id = decode_cursor(cursor)
    with services.store.read_session() as session:
        rows = audit.list_newest(session, limit=limit + 1, before_id=before_id)
    return paginate(rows, limit, AuditEntryResponse.model_validate, lambda entry: entry.id)
