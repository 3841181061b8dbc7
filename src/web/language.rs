//! French and English. Every text of the pages is here, so that no page speaks half of each.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};

use crate::http::problem::Code;
use crate::store::model::{RunKind, RunState};
use crate::sync::eligibility::reason;

/// What the visitor reads best, of what we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    English,
    French,
}

impl Language {
    /// By `Accept-Language`; English when neither is asked for.
    pub fn of(headers: &HeaderMap) -> Self {
        let asked = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut best = (0.0, Self::English);
        for part in asked.split(',') {
            let mut pieces = part.split(';');
            let tag = pieces.next().unwrap_or_default().trim().to_ascii_lowercase();
            let weight = pieces.find_map(|piece| piece.trim().strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
            let language = match tag.split('-').next() {
                Some("fr") => Self::French,
                Some("en") => Self::English,
                _ => continue,
            };
            // The first of equals.
            if let Some(weight) = weight.filter(|weight| *weight > best.0) {
                best = (weight, language);
            }
        }
        best.1
    }

    pub fn words(self) -> &'static Words {
        match self {
            Self::English => &ENGLISH,
            Self::French => &FRENCH,
        }
    }
}

/// The texts of one language.
#[derive(Debug)]
pub struct Words {
    pub language: Language,
    pub code: &'static str,
    pub skip: &'static str,
    pub audiences: &'static str,
    pub runs: &'static str,
    pub log_in: &'static str,
    pub log_out: &'static str,
    pub token: &'static str,
    pub token_help: &'static str,
    pub token_wrong: &'static str,
    pub no_audience: &'static str,
    pub no_run: &'static str,
    pub paused: &'static str,
    pub next_run: &'static str,
    pub not_scheduled: &'static str,
    pub last_run: &'static str,
    pub never: &'static str,
    pub destination: &'static str,
    pub held: &'static str,
    pub uncertain: &'static str,
    pub rejected: &'static str,
    pub holdout: &'static str,
    pub run: &'static str,
    pub audience: &'static str,
    pub state: &'static str,
    pub kind: &'static str,
    pub as_of: &'static str,
    pub requested: &'static str,
    pub by: &'static str,
    pub started: &'static str,
    pub finished: &'static str,
    pub attempts: &'static str,
    pub origin: &'static str,
    pub dry_run: &'static str,
    pub segment: &'static str,
    pub customers: &'static str,
    pub inactive: &'static str,
    pub active: &'static str,
    pub unknown: &'static str,
    pub eligible: &'static str,
    pub left_out: &'static str,
    pub destinations: &'static str,
    pub added: &'static str,
    pub removed: &'static str,
    pub renewed: &'static str,
    pub kept: &'static str,
    pub requests: &'static str,
    pub warnings: &'static str,
    pub error: &'static str,
    pub what_to_do: &'static str,
    pub match_rate: &'static str,
    pub progress: &'static str,
    pub waiting: &'static str,
    pub cancel: &'static str,
    pub cancelling: &'static str,
    pub older: &'static str,
    pub newest: &'static str,
    pub request_id: &'static str,
    pub back: &'static str,
    pub main_reading: &'static str,
    pub no_figure: &'static str,
    pub waits_for_platform: &'static str,
    pub run_waits: &'static str,
    /// Before what a label is about, with the space it wants.
    pub colon: &'static str,
    thousands: char,
    /// For the script: what a live run says in English, and here.
    live: &'static [(&'static str, &'static str)],
    readings: [&'static str; 6],
    states: [&'static str; 7],
    kinds: [&'static str; 3],
}

static ENGLISH: Words = Words {
    language: Language::English,
    code: "en",
    skip: "Skip to the content",
    audiences: "Audiences",
    runs: "Runs",
    log_in: "Log in",
    log_out: "Log out",
    token: "Token",
    token_help: "Paste a token; `reveil token create` makes one. This browser keeps it for twelve hours.",
    token_wrong: "This token is not valid: mistyped, expired or revoked.",
    no_audience: "There is no audience that this token may see.",
    no_run: "No run yet.",
    paused: "paused",
    next_run: "Next run",
    not_scheduled: "not scheduled",
    last_run: "Last run",
    never: "never",
    destination: "Destination",
    held: "Members",
    uncertain: "Uncertain",
    rejected: "Refused",
    holdout: "Control group",
    run: "Run",
    audience: "Audience",
    state: "State",
    kind: "Kind",
    as_of: "As of",
    requested: "Asked for",
    by: "by",
    started: "Started",
    finished: "Ended",
    attempts: "Attempts",
    origin: "Asked by",
    dry_run: "Dry run: nothing is sent",
    segment: "From customers to people who may be uploaded",
    customers: "Customers",
    inactive: "Inactive",
    active: "Active",
    unknown: "Unknown",
    eligible: "May be uploaded",
    left_out: "Left out",
    destinations: "Destinations",
    added: "Added",
    removed: "Removed",
    renewed: "Renewed",
    kept: "Kept",
    requests: "Requests",
    warnings: "Warnings",
    error: "Error",
    what_to_do: "What to do",
    match_rate: "Match reading",
    progress: "Progress",
    waiting: "Waiting for its turn",
    cancel: "Cancel this run",
    cancelling: "It stops before its next batch.",
    older: "Older",
    newest: "Newest",
    request_id: "Request",
    back: "Back to the audiences",
    main_reading: "main reading",
    no_figure: "no figure yet",
    waits_for_platform: "waits for the platform",
    run_waits: "This run waits for the platform: it goes on by itself when the platform has decided on what was sent.",
    colon: ":",
    thousands: ',',
    live: &[("add", "adding"), ("remove", "removing"), ("rows", "rows read")],
    readings: [
        "exact",
        "range given by the platform",
        "between two bounds",
        "count without a known total",
        "the platform says later",
        "the platform never says",
    ],
    states: ["waiting", "running", "done", "sent, no verdict yet", "partly failed", "failed", "cancelled"],
    kinds: ["difference", "everything again", "renewal"],
};

static FRENCH: Words = Words {
    language: Language::French,
    code: "fr",
    skip: "Aller au contenu",
    audiences: "Audiences",
    runs: "Exécutions",
    log_in: "Se connecter",
    log_out: "Se déconnecter",
    token: "Jeton",
    token_help: "Collez un jeton ; `reveil token create` en crée un. Ce navigateur le garde douze heures.",
    token_wrong: "Ce jeton n’est pas valable : mal recopié, expiré ou révoqué.",
    no_audience: "Ce jeton ne donne accès à aucune audience.",
    no_run: "Aucune exécution pour l’instant.",
    paused: "en pause",
    next_run: "Prochaine exécution",
    not_scheduled: "non planifiée",
    last_run: "Dernière exécution",
    never: "jamais",
    destination: "Destination",
    held: "Membres",
    uncertain: "Incertains",
    rejected: "Refusés",
    holdout: "Groupe témoin",
    run: "Exécution",
    audience: "Audience",
    state: "État",
    kind: "Type",
    as_of: "À la date du",
    requested: "Demandée",
    by: "par",
    started: "Début",
    finished: "Fin",
    attempts: "Tentatives",
    origin: "À la demande de",
    dry_run: "Essai à blanc : rien n’est envoyé",
    segment: "Des clients aux personnes que l’on peut envoyer",
    customers: "Clients",
    inactive: "Inactifs",
    active: "Actifs",
    unknown: "Inconnus",
    eligible: "Peuvent être envoyés",
    left_out: "Écartés",
    destinations: "Destinations",
    added: "Ajoutés",
    removed: "Retirés",
    renewed: "Renouvelés",
    kept: "Gardés",
    requests: "Requêtes",
    warnings: "Avertissements",
    error: "Erreur",
    what_to_do: "Que faire",
    match_rate: "Taux de correspondance",
    progress: "Avancement",
    waiting: "Attend son tour",
    cancel: "Annuler cette exécution",
    cancelling: "Elle s’arrête avant le prochain lot.",
    older: "Plus anciennes",
    newest: "Plus récentes",
    request_id: "Requête",
    back: "Retour aux audiences",
    main_reading: "mesure principale",
    no_figure: "pas encore de chiffre",
    waits_for_platform: "attend la plateforme",
    run_waits: "Cette exécution attend la plateforme : elle reprend d’elle-même quand la plateforme s’est prononcée sur ce qui a été envoyé.",
    colon: "\u{202f}:",
    thousands: '\u{202f}',
    live: &[
        ("Reading the warehouse", "Lecture de l’entrepôt"),
        (": waiting for the platform's verdict on # members", " : attend le verdict de la plateforme sur # membres"),
        ("add", "ajout"),
        ("remove", "retrait"),
        ("rows", "lignes lues"),
    ],
    readings: [
        "exact",
        "fourchette donnée par la plateforme",
        "entre deux bornes",
        "effectif sans total connu",
        "la plateforme le dira plus tard",
        "la plateforme ne le dit pas",
    ],
    states: ["en attente", "en cours", "terminée", "envoyée, verdict attendu", "échec partiel", "échec", "annulée"],
    kinds: ["différence", "tout renvoyer", "renouvellement"],
};

impl Words {
    pub fn run_state(&self, state: &RunState) -> &'static str {
        RunState::ALL.iter().position(|known| known == state).map_or("", |index| self.states[index])
    }

    pub fn run_kind(&self, kind: &RunKind) -> &'static str {
        RunKind::ALL.iter().position(|known| known == kind).map_or("", |index| self.kinds[index])
    }

    /// What sort of figure a reading is.
    pub fn reading(&self, kind: &str) -> &'static str {
        READINGS.iter().position(|known| *known == kind).map_or("", |index| self.readings[index])
    }

    /// What a share is a share of.
    pub fn of_persons(&self, persons: &u64) -> String {
        let number = self.count(persons);
        match (self.language, persons) {
            (Language::English, 1) => "of 1 person".to_owned(),
            (Language::English, _) => format!("of {number} persons"),
            (Language::French, 0 | 1) => format!("sur {number} personne"),
            (Language::French, _) => format!("sur {number} personnes"),
        }
    }

    /// Of the script, as JSON.
    pub fn live(&self) -> String {
        let words: BTreeMap<&str, &str> = self.live.iter().copied().chain([(":", self.colon)]).collect();
        serde_json::json!(words).to_string()
    }

    /// A count with its thousands apart.
    pub fn count(&self, number: &u64) -> String {
        let digits = number.to_string();
        let mut text = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push(self.thousands);
            }
            text.push(digit);
        }
        text
    }

    /// A share as percent.
    pub fn percent(&self, share: &f64) -> String {
        let text = format!("{:.1}", 100.0 * share);
        let text = text.strip_suffix(".0").unwrap_or(&text);
        match self.language {
            Language::English => format!("{text} %"),
            Language::French => format!("{} %", text.replace('.', ",")),
        }
    }

    /// Why somebody was left out.
    fn reason(&self, code: &str) -> String {
        let words = match self.language {
            Language::English => reason::describe(code),
            Language::French => french_reason(code),
        };
        if matches!(words, "other" | "autre") { code.replace('_', " ") } else { words.to_owned() }
    }

    /// Who was left out and why, in the order of the rules; unknown reasons last.
    pub fn reasons(&self, excluded: &BTreeMap<String, u64>) -> Vec<(String, String)> {
        let order = |reason: &str| reason::ORDER.iter().position(|known| *known == reason).unwrap_or(usize::MAX);
        let mut all: Vec<_> = excluded.iter().collect();
        all.sort_by_key(|(reason, _)| order(reason));
        all.into_iter().map(|(reason, number)| (self.reason(reason), self.count(number))).collect()
    }

    /// What kind of problem.
    pub fn problem(&self, code: Code) -> &'static str {
        match (self.language, code) {
            (Language::English, code) => code.title(),
            (Language::French, code) => french_problem(code),
        }
    }

    /// What to do about it; `None` when only English has words for it.
    pub fn remedy(&self, code: Code) -> Option<&'static str> {
        match (self.language, code) {
            (Language::English, code) => Some(code.hint()),
            (_, Code::NotFound) => Some("partir de la liste des audiences ou des exécutions"),
            (_, Code::Unauthenticated) => Some("se connecter avec un jeton valable"),
            (_, Code::Forbidden) => Some("utiliser un jeton qui en a le rôle"),
            (_, Code::CrossSite) => Some("recommencer depuis la page elle-même"),
            (_, Code::MethodNotAllowed) => Some("revenir à la page précédente"),
            (_, Code::RunEnded) => Some("seule une exécution en attente ou en cours s’annule"),
            (_, Code::WrongHost) => Some("utiliser l’adresse du serveur, ou ajouter ce nom à server.allowed_hosts"),
            (_, Code::TooManyRequests | Code::Overloaded) => Some("attendre un instant et recommencer"),
            (_, Code::Unavailable | Code::RequestTimeout) => Some("recommencer dans un instant"),
            (_, Code::Internal) => Some("chercher le numéro de la requête dans le journal"),
            (_, _) => None,
        }
    }
}

/// Kinds of readings, as the API names them.
const READINGS: [&str; 6] = ["exact", "bucket", "bounds", "count", "pending", "not_offered"];

fn french_problem(code: Code) -> &'static str {
    match code {
        Code::MalformedRequest => "La requête est illisible",
        Code::InvalidRequest => "La requête ne suit pas son schéma",
        Code::Unauthenticated => "Il faut un jeton valable",
        Code::Forbidden => "Ce jeton ne le permet pas",
        Code::CrossSite => "Une page d’un autre site ne peut pas faire cela",
        Code::NotFound => "Cette page n’existe pas",
        Code::MethodNotAllowed => "Cette adresse se demande autrement",
        Code::NotAcceptable => "La forme demandée n’est pas proposée",
        Code::RequestTimeout => "La requête est arrivée trop lentement",
        Code::AudienceBusy => "Une autre exécution occupe l’audience",
        Code::RunEnded => "Cette exécution est terminée",
        Code::NotYet => "On ne peut encore rien en dire",
        Code::RestartNeeded => "Cette configuration demande un redémarrage",
        Code::GuardRefused => "Un garde-fou a refusé",
        Code::KeyInUse => "La requête de cette clé est encore en cours",
        Code::KeyReused => "Cette clé a servi à une autre requête",
        Code::Unprocessable => "La requête est comprise, mais impossible",
        Code::ConfigFaulty => "La configuration a des défauts",
        Code::PayloadTooLarge => "Le contenu est trop grand",
        Code::UnsupportedMediaType => "Le contenu est d’un autre type",
        Code::WrongHost => "Ce serveur ne répond pas à ce nom",
        Code::TooManyRequests => "Trop de requêtes",
        Code::HeadersTooLarge => "Les en-têtes sont trop grands",
        Code::Internal => "Un incident imprévu est survenu",
        Code::NotConfigured => "La configuration ne le permet pas",
        Code::WarehouseFailed => "L’entrepôt a échoué",
        Code::PlatformFailed => "La plateforme a échoué",
        Code::Unavailable => "L’état ne répond pas",
        Code::Overloaded => "Trop de demandes en ce moment",
        Code::DeadlineExceeded => "Cela a pris trop de temps",
    }
}

fn french_reason(code: &str) -> &'static str {
    match code {
        "test_customer" => "compte de test ou d’employé",
        "erasure_requested" => "a demandé l’effacement",
        "objection" => "s’est opposé à la prospection",
        "complaint" => "s’est plaint d’un e-mail (vaut opposition)",
        "us_opt_out" => "refuse la vente ou le partage (États-Unis)",
        "consent_denied" => "refuse la publicité",
        "consent_unknown" => "consentement publicitaire inconnu",
        "consent_unproven" => "consentement sans date ni source",
        "unsubscribed" => "désabonné des e-mails",
        "hard_bounce" => "adresse e-mail morte",
        "retention_expired" => "dernier contact au-delà de la durée de conservation",
        "minor" => "mineur",
        "bought_recently" => "a acheté récemment",
        "lost" => "perdu : aucune réaction aux dernières campagnes",
        "mail_ladder" => "relances par e-mail en cours",
        "no_usable_identifier" => "aucun identifiant utilisable",
        "only_shared_placeholder" => "seulement des identifiants partagés par beaucoup",
        "identifier_of_active_customer" => "seulement des identifiants d’un client actif",
        "identifier_of_refusing_customer" => "seulement des identifiants de quelqu’un qui a refusé",
        "duplicate_of_another_customer" => "mêmes identifiants qu’un autre client",
        "holdout" => "groupe témoin",
        "suppressed" => "a demandé l’oubli",
        _ => "autre",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_language_wins() {
        let of = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_LANGUAGE, accept.parse().unwrap());
            Language::of(&headers)
        };
        assert_eq!(of("fr-FR,fr;q=0.9,en;q=0.8"), Language::French);
        assert_eq!(of("de,en;q=0.5,fr;q=0.7"), Language::French);
        assert_eq!(of("en,fr"), Language::English);
        for odd in ["", "de", "fr;q=0", "fr;q=x", ";;,,"] {
            assert_eq!(of(odd), Language::English, "{odd}");
        }
    }

    #[test]
    fn numbers_are_written_as_people_do() {
        assert_eq!(ENGLISH.count(&1_234_567), "1,234,567");
        assert_eq!(FRENCH.count(&1_234), "1\u{202f}234");
        assert_eq!((ENGLISH.count(&999), ENGLISH.percent(&0.125)), ("999".to_owned(), "12.5 %".to_owned()));
        assert_eq!(FRENCH.percent(&0.125), "12,5 %");
    }

    #[test]
    fn readings_and_stages_have_words_in_both() {
        for kind in READINGS {
            assert!(
                !ENGLISH.reading(kind).is_empty() && ENGLISH.reading(kind) != FRENCH.reading(kind) || kind == "exact"
            );
        }
        assert_eq!(ENGLISH.of_persons(&1), "of 1 person");
        assert_eq!(FRENCH.of_persons(&1_200), "sur 1\u{202f}200 personnes");
        assert!(FRENCH.live().contains("Lecture de l’entrepôt"));
    }

    #[test]
    fn every_reason_has_words_in_both() {
        for reason in reason::ORDER {
            for words in [&ENGLISH, &FRENCH] {
                assert!(!words.reason(reason).contains('_') && !matches!(&*words.reason(reason), "other" | "autre"));
                assert_ne!(words.reason(reason), reason.replace('_', " ").to_uppercase());
            }
            assert_ne!(french_reason(reason), "autre", "{reason}");
        }
    }
}
