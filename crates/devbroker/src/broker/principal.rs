//! Who a client is, as Kafka's `DefaultKafkaPrincipalBuilder` names it.

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

const ANONYMOUS: &str = "User:ANONYMOUS";

/// `User:` and the subject, the most specific part first (RFC 2253).
pub(super) fn principal(certificate: Option<&CertificateDer<'_>>) -> String {
    let Some(certificate) = certificate else {
        return ANONYMOUS.to_owned();
    };
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return ANONYMOUS.to_owned();
    };
    let mut parts: Vec<String> = parsed
        .subject()
        .iter_rdn()
        .map(|part| {
            let attributes = part.iter().map(|attribute| {
                let oid = attribute.attr_type().to_id_string();
                let value = attribute.as_str().unwrap_or_default();
                format!("{}={}", abbreviated(&oid), escaped(value))
            });
            attributes.collect::<Vec<_>>().join("+")
        })
        .collect();
    parts.reverse();
    format!("User:{}", parts.join(","))
}

/// The keywords of RFC 2253; other types stand as they are.
fn abbreviated(oid: &str) -> &str {
    match oid {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.25" => "DC",
        "0.9.2342.19200300.100.1.1" => "UID",
        other => other,
    }
}

fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for char in value.chars() {
        if matches!(char, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Authority;

    #[test]
    fn a_client_is_called_by_its_subject_and_one_without_certificate_is_nobody() {
        let authority = Authority::new("CA").unwrap();
        let client = authority.client("node-1, spare").issue().unwrap();
        let named = principal(Some(client.certificate()));
        assert_eq!(named, "User:CN=node-1\\, spare");
        assert_eq!(principal(None), ANONYMOUS);
    }
}
