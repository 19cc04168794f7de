//! Client certificates.

use rcgen::{CertificateParams, DnType, KeyPair, SanType};

use super::super::testing::*;
use super::super::{Authorizers, ClientCertificate, Denied};

fn certificate(sans: &[SanType], not_before: i32, not_after: i32) -> ClientCertificate {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "edge.example");
    params.subject_alt_names = sans.to_vec();
    params.not_before = rcgen::date_time_ymd(not_before, 1, 1);
    params.not_after = rcgen::date_time_ymd(not_after, 1, 1);
    let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    ClientCertificate::from_der(made.der()).unwrap()
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(uri: &str) -> SanType {
    SanType::URI(uri.try_into().unwrap())
}

fn rig(more: &str) -> Authorizers {
    authorizers(&format!(
        "[[authorizer]]\ntype = \"mtls\"\n\
         [[authorizer.client]]\ndns = \"edge.example\"\ncontents = [\"film\"]\n\
         [[authorizer.client]]\nuri = \"spiffe://example/packager\"\ncontents = \"all\"\n{more}"
    ))
}

async fn covers(authorizers: &Authorizers, certificate: ClientCertificate) -> Result<[bool; 3], Denied> {
    let request = Request { certificate: Some(certificate), ..Request::new() };
    let grant = request.decide(authorizers).await?;
    assert_eq!((grant.authorizer, grant.subject.as_deref().map(str::len)), ("mtls", Some(16)));
    assert_eq!(grant.counted_by(), None, "an edge is not one viewer");
    assert!(grant.expires.is_some());
    assert_eq!(authorizers.key_query(&grant, &request.asked(), "/v1/keys/x"), None);
    let film = content("film");
    Ok([grant.covers(&key(KEY), &film), grant.covers(&key(KEY), &content("other")), grant.covers_content(&film)])
}

#[tokio::test]
async fn who_is_listed_has_what_is_listed() {
    let (film, all) = ([true, false, true], [true, true, true]);
    let unknown = Err(Denied::CertificateUnknown);
    for (sans, expected) in [
        (vec![dns("edge.example")], Ok(film)),
        (vec![dns("EDGE.example")], Ok(film)),
        (vec![dns("other.example"), dns("edge.example")], Ok(film)),
        (vec![uri("spiffe://example/packager")], Ok(all)),
        (vec![dns("edge.example"), uri("spiffe://example/packager")], Ok(film)),
        (vec![uri("spiffe://example/Packager")], unknown),
        (vec![uri("spiffe://example/packager/x")], unknown),
        (vec![uri("edge.example")], unknown),
        (vec![dns("*.example")], unknown),
        (vec![dns("edge.example.evil.example")], unknown),
        (vec![dns("xedge.example")], unknown),
        (vec![SanType::Rfc822Name("edge.example".try_into().unwrap())], unknown),
        // The common name is no name to go by (RFC 9525 section 2).
        (vec![], unknown),
    ] {
        let answer = covers(&rig(""), certificate(&sans, 2020, 2040)).await;
        assert_eq!(answer, expected, "{sans:?}");
    }
    assert_eq!(Request::new().decide(&rig("")).await.map(|_| ()), Err(Denied::NoCredential));
}

#[tokio::test]
async fn a_fingerprint_names_one_certificate() {
    let (mine, other) = (certificate(&[], 2020, 2040), certificate(&[], 2020, 2040));
    let plain = hex::encode(mine.sha256());
    let upper = plain.to_uppercase();
    let colons = upper.as_bytes().chunks(2).map(|b| std::str::from_utf8(b).unwrap().to_owned());
    for text in [plain.clone(), colons.collect::<Vec<_>>().join(":")] {
        let rig = rig(&format!("[[authorizer.client]]\nsha256 = \"{text}\"\ncontents = [\"film\"]\n"));
        assert_eq!(covers(&rig, mine.clone()).await, Ok([true, false, true]));
        assert_eq!(covers(&rig, other.clone()).await, Err(Denied::CertificateUnknown));
    }
}

#[tokio::test]
async fn a_certificate_ends_though_its_connection_lives() {
    // The tests' time is in January 2027.
    for (from, to, expected) in [
        (2026, 2028, Ok([true, false, true])),
        (2020, 2026, Err(Denied::CertificateExpired)),
        (2028, 2040, Err(Denied::CertificateExpired)),
    ] {
        assert_eq!(covers(&rig(""), certificate(&[dns("edge.example")], from, to)).await, expected);
    }
}

#[test]
fn what_is_no_certificate() {
    let made = rcgen::generate_simple_self_signed(["edge.example".to_owned()]).unwrap();
    let der = made.cert.der().to_vec();
    assert!(ClientCertificate::from_der(&der).is_ok());
    assert!(ClientCertificate::from_der(b"").is_err());
    assert!(ClientCertificate::from_der(&der[..der.len() - 1]).is_err());
    assert!(ClientCertificate::from_der(&[&der[..], b"\0"].concat()).is_err());
    for at in 0..der.len() {
        let mut changed = der.clone();
        changed[at] ^= 0xff;
        // Whatever it is, it is no panic, and another certificate.
        if let Ok(other) = ClientCertificate::from_der(&changed) {
            assert_ne!(other.sha256(), ClientCertificate::from_der(&der).unwrap().sha256());
        }
    }
}

#[test]
fn entries_say_exactly_who_and_what() {
    for (client, expected) in [
        ("contents = \"all\"", "exactly one of"),
        ("dns = \"a\"\nuri = \"b:c\"\ncontents = \"all\"", "exactly one of"),
        ("dns = \"*.example\"\ncontents = \"all\"", "not a DNS name"),
        ("dns = \"\"\ncontents = \"all\"", "not a DNS name"),
        ("uri = \"x\"\ncontents = \"all\"", "not a URI"),
        ("sha256 = \"00\"\ncontents = \"all\"", "64 hex digits"),
        ("dns = \"a\"\ncontents = []", "is empty"),
        ("dns = \"a\"\ncontents = [\"*\"]", "not a content id"),
        ("dns = \"a\"\ncontents = \"every\"", "contents"),
        ("dns = \"a\"", "contents"),
        ("dns = \"a\"\ncontents = \"all\"\nadmin = true", "unknown field"),
    ] {
        let toml = format!("[[authorizer]]\ntype = \"mtls\"\n[[authorizer.client]]\n{client}\n");
        let error = try_authorizers(&toml).map(|_| ()).unwrap_err();
        assert!(error.contains(expected) || error.contains("untagged enum Contents"), "{client}: {error}");
    }
    assert!(try_authorizers("[[authorizer]]\ntype = \"mtls\"\nclient = []\n").is_err());
}
