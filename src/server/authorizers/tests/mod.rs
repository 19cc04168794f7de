//! The other authorisers, and all of them together. Tokens have tests of their own.

mod forward;
mod mtls;
mod signed;

use serde_json::json;

use super::Denied;
use super::testing::*;

#[test]
fn every_reason_has_a_code_of_its_own() {
    use Denied::*;
    let all = [
        NoCredential,
        Repeated,
        Unreadable,
        JwtMalformed,
        JwtHeader,
        JwtAlgorithm,
        JwtKey,
        JwtSignature,
        JwtClaims,
        JwtIssuer,
        JwtAudience,
        JwtExpired,
        JwtEarly,
        JwtLife,
        JwtUnbound,
        JwksUnavailable,
        SignedMalformed,
        SignedSecret,
        SignedSignature,
        SignedPath,
        SignedMethod,
        SignedExpired,
        SignedLife,
        SignedNetwork,
        SignedUnbound,
        CertificateUnknown,
        CertificateExpired,
        ForwardNotKey,
        ForwardRefused,
        ForwardUnavailable,
    ];
    assert_eq!(all.len(), ForwardUnavailable as usize + 1, "one is not in the list");
    let codes: std::collections::HashSet<_> = all.iter().map(Denied::code).collect();
    assert_eq!(codes.len(), all.len());
    assert_eq!(all.iter().filter(|denied| denied.is_temporary()).count(), 2);
}

/// A JWT authoriser, a signed one and one that asks a server which grants everything.
#[tokio::test]
async fn the_first_that_knows_the_kind_decides() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::plain(Reply::new("200 OK", "")).await;
    let secret = secret_file(dir.path(), SECRET);
    let authorizers = authorizers(&format!(
        "[[authorizer]]\ntype = \"jwt\"\nissuer = \"https://id.example\"\naudience = \"keyrung\"\n\
         [[authorizer.key]]\nalgorithm = \"HS256\"\nfile = {secret:?}\n\
         [[authorizer]]\ntype = \"signed\"\n[[authorizer.secret]]\nfile = {secret:?}\n\
         [[authorizer]]\ntype = \"forward\"\nurl = \"http://{}/\"\n",
        server.address
    ));
    let decide = async |request: Request| request.decide(&authorizers).await.map(|grant| grant.authorizer);
    let good = token(&json!({"alg": "HS256"}), &claims(), &hs256(SECRET));
    assert_eq!(decide(Request::bearer(&good)).await, Ok("jwt"));
    assert_eq!(decide(Request::new()).await, Ok("forward"));
    assert_eq!(decide(Request::new().field("authorization", "Basic YTpi")).await, Ok("forward"));
    let asked = server.count();
    // What the one who knows it refused goes to nobody else, not even a token of an issuer that nobody knows.
    let foreign = token(&json!({"alg": "HS256"}), &claims_with(json!({"iss": "other"})), &hs256(SECRET));
    assert_eq!(decide(Request::bearer("a.b.c")).await, Err(Denied::JwtMalformed));
    assert_eq!(decide(Request::bearer("opaque")).await, Err(Denied::JwtMalformed));
    assert_eq!(decide(Request::bearer(&foreign)).await, Err(Denied::JwtIssuer));
    assert_eq!(decide(Request::new().query("kr-signed=x")).await, Err(Denied::SignedMalformed));
    assert_eq!(decide(Request::bearer(&good).query("kr-signed=x")).await, Ok("jwt"), "in the order of the settings");
    assert_eq!(server.count(), asked);
}

#[tokio::test]
async fn nobody_is_let_in_by_default() {
    let none = super::Authorizers::new(Vec::new()).unwrap();
    assert_eq!(Request::new().decide(&none).await.map(|_| ()), Err(Denied::NoCredential));
    for unknown in ["type = \"open\"", "type = \"JWT\"", "", "type = \"forward\"", "type = \"signed\"\nsecret = []"] {
        assert!(try_authorizers(&format!("[[authorizer]]\n{unknown}\n")).is_err(), "{unknown}");
    }
}

#[test]
fn settings_are_written_as_they_are_read() {
    let toml = "type = \"jwt\"\nissuer = \"i\"\naudience = \"a\"\nmaximum_life = \"1d\"\ncookie = \"keyrung_token\"\n\n\
                [[key]]\nkid = \"k\"\nalgorithm = \"EdDSA\"\nfile = \"keys/ed.pem\"\n";
    let settings: super::Settings = toml::from_str(toml).unwrap();
    assert_eq!(toml::to_string(&settings).unwrap(), toml);
    let super::Settings::Jwt(jwt) = settings.beneath(std::path::Path::new("/etc/keyrung")) else { unreachable!() };
    assert_eq!(jwt.key[0].file, std::path::Path::new("/etc/keyrung/keys/ed.pem"));
}
