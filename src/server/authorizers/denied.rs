//! Why a request was refused, for the audit log and the metrics.

/// Why there is no grant. The viewer is told the same whatever it is, but for trouble that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Denied {
    /// The request carries nothing that any authoriser knows.
    NoCredential,
    /// There is more than one credential of a kind: a repeated field or parameter, or several places at once.
    Repeated,
    /// The credential's place is not readable: not ASCII, empty, or too long.
    Unreadable,
    /// The token is not a JWS in compact form with a JSON header and claims.
    JwtMalformed,
    /// The token's header asks for what is never done: a key by URL or by value, an extension that must be understood.
    JwtHeader,
    /// The token's algorithm is not the one of its key.
    JwtAlgorithm,
    /// There is no key of the token's key id.
    JwtKey,
    /// The signature is not the key's.
    JwtSignature,
    /// A claim that has to be there is missing, or is not of its form.
    JwtClaims,
    /// The token is of another issuer.
    JwtIssuer,
    /// The token is for another audience.
    JwtAudience,
    /// The token has ended.
    JwtExpired,
    /// The token begins, or was issued, in the future.
    JwtEarly,
    /// The token lives longer than tokens may.
    JwtLife,
    /// The token opens nothing.
    JwtUnbound,
    /// No key set has been read yet.
    JwksUnavailable,
    /// The value is not of the form of signed URLs and cookies.
    SignedMalformed,
    /// There is no secret of this id.
    SignedSecret,
    /// The signature is not the secret's.
    SignedSignature,
    /// It was signed for another path.
    SignedPath,
    /// It was signed for reading.
    SignedMethod,
    /// It has ended.
    SignedExpired,
    /// It ends later than it may.
    SignedLife,
    /// It was signed for another client network.
    SignedNetwork,
    /// It opens nothing.
    SignedUnbound,
    /// The client certificate is none of those that are listed.
    CertificateUnknown,
    /// The client certificate's time is over, or has not come.
    CertificateExpired,
    /// The endpoint was not asked: the request is not for a key.
    ForwardNotKey,
    /// The endpoint refused.
    ForwardRefused,
    /// The endpoint did not answer in time, or answered neither yes nor no.
    ForwardUnavailable,
}

impl Denied {
    /// The reason as one word, for logs and metrics. It never changes its meaning.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoCredential => "no-credential",
            Self::Repeated => "repeated-credential",
            Self::Unreadable => "unreadable-credential",
            Self::JwtMalformed => "jwt-malformed",
            Self::JwtHeader => "jwt-header",
            Self::JwtAlgorithm => "jwt-algorithm",
            Self::JwtKey => "jwt-key",
            Self::JwtSignature => "jwt-signature",
            Self::JwtClaims => "jwt-claims",
            Self::JwtIssuer => "jwt-issuer",
            Self::JwtAudience => "jwt-audience",
            Self::JwtExpired => "jwt-expired",
            Self::JwtEarly => "jwt-early",
            Self::JwtLife => "jwt-life",
            Self::JwtUnbound => "jwt-unbound",
            Self::JwksUnavailable => "jwks-unavailable",
            Self::SignedMalformed => "signed-malformed",
            Self::SignedSecret => "signed-secret",
            Self::SignedSignature => "signed-signature",
            Self::SignedPath => "signed-path",
            Self::SignedMethod => "signed-method",
            Self::SignedExpired => "signed-expired",
            Self::SignedLife => "signed-life",
            Self::SignedNetwork => "signed-network",
            Self::SignedUnbound => "signed-unbound",
            Self::CertificateUnknown => "certificate-unknown",
            Self::CertificateExpired => "certificate-expired",
            Self::ForwardNotKey => "forward-not-key",
            Self::ForwardRefused => "forward-refused",
            Self::ForwardUnavailable => "forward-unavailable",
        }
    }

    /// Whether the same request may be granted later: 503 and not 403.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::JwksUnavailable | Self::ForwardUnavailable)
    }
}
