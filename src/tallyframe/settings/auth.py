"""Who may sign in: users with the session tokens of an identity provider."""

from pydantic import Field, SecretStr

from tallyframe.settings.group import Group
from tallyframe.settings.origins import Parties
from tallyframe.settings.values import Issuer, JwtSecret, WebhookSecrets


class AuthSettings(Group):
    """The issuer of session tokens, and what a token must say. Without an issuer, there are API keys only."""

    issuer: Issuer = Field("", alias="TALLYFRAME_AUTH_ISSUER")
    jwks_url: str = Field("", alias="TALLYFRAME_AUTH_JWKS_URL")
    audience: str = Field("", alias="TALLYFRAME_AUTH_AUDIENCE")
    authorized_parties: Parties = Field((), alias="TALLYFRAME_AUTH_AUTHORIZED_PARTIES")
    jwt_secret: JwtSecret = Field(SecretStr(""), alias="TALLYFRAME_AUTH_JWT_SECRET")  # of HS256 tokens
    allow_missing_azp: bool = Field(default=False, alias="TALLYFRAME_AUTH_ALLOW_MISSING_AZP")
    allow_anonymous: bool = Field(default=False, alias="TALLYFRAME_AUTH_ALLOW_ANONYMOUS")
    clerk_webhook_secret: WebhookSecrets = Field((), alias="CLERK_WEBHOOK_SIGNING_SECRET")

    @property
    def keys_url(self) -> str:
        """Where the issuer's keys are: as set, or at its well-known place; empty where a secret alone verifies."""
        well_known = f"{self.issuer.rstrip('/')}/.well-known/jwks.json"
        return self.jwks_url or ("" if self.jwt_secret else well_known)

    def problems(self) -> list[str]:
        """Return a line for what a token can't be checked without."""
        if self.jwt_secret and not (self.issuer and self.audience):
            return ["TALLYFRAME_AUTH_JWT_SECRET: needs TALLYFRAME_AUTH_ISSUER and TALLYFRAME_AUTH_AUDIENCE"]
        if self.clerk_webhook_secret and not self.issuer:
            return ["CLERK_WEBHOOK_SIGNING_SECRET: needs TALLYFRAME_AUTH_ISSUER"]
        needed = ["TALLYFRAME_AUTH_AUDIENCE or TALLYFRAME_AUTH_AUTHORIZED_PARTIES: one is needed with an issuer"]
        return needed if self.issuer and not (self.audience or self.authorized_parties) else []
