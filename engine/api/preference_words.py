"""The texts of the page of preferences, in the languages that it is shipped in, and which of them somebody reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Words = Mapping[str, Any]

ENGLISH: Words = {
    "language": "en",
    "title": "Your preferences",
    "intro": "Choose what you want to get from us. Nothing changes until you save.",
    "save": "Save",
    "saved": "Saved. It takes effect at once.",
    "nothing": "Unsubscribe from everything",
    "pause": "Take a break",
    "until": "Send me nothing until",
    "until_hint": "Leave it empty for no break.",
    "fewer": "Fewer messages",
    "as_usual": "as many as usual",
    "every": "All channels",
    "all": "Everything",
    "pending": "not confirmed yet",
    "channels": {"email": "E-mail", "sms": "Text messages", "push": "Notifications", "whatsapp": "WhatsApp"},
    "at_most": "at most {n}",
    "per": {"day": "a day", "week": "a week", "month": "a month", "days": "in {days} days"},
    "wrong_date": "Nothing was saved: please choose a day after today, at most a year ahead.",
    "wrong_form": "Nothing was saved: the page was not sent as a whole. Please choose once more.",
    "wrong_choice": "Nothing was saved: please choose one of the numbers in the list.",
    "gone": "There is nothing left to choose",
    "gone_why": "We keep nothing about you any more, and send you nothing.",
    "unknown": "This link doesn’t work",
    "unknown_why": "It may have been cut off. Please open it once more from the message, as a whole.",
    "not_now": "That didn’t work",
    "not_now_why": "Nothing is saved yet. Please go back, and save again in a minute.",
}

GERMAN: Words = {
    "language": "de",
    "title": "Ihre Einstellungen",
    "intro": "Wählen Sie, was Sie von uns bekommen möchten. Nichts ändert sich, bevor Sie speichern.",
    "save": "Speichern",
    "saved": "Gespeichert. Es gilt ab sofort.",
    "nothing": "Alles abbestellen",
    "pause": "Eine Pause machen",
    "until": "Nichts senden bis zum",
    "until_hint": "Leer lassen, wenn Sie keine Pause möchten.",
    "fewer": "Weniger Nachrichten",
    "as_usual": "so viele wie üblich",
    "every": "Alle Kanäle",
    "all": "Alles",
    "pending": "noch nicht bestätigt",
    "channels": {"email": "E-Mail", "sms": "SMS", "push": "Mitteilungen", "whatsapp": "WhatsApp"},
    "at_most": "höchstens {n}",
    "per": {"day": "am Tag", "week": "in der Woche", "month": "im Monat", "days": "in {days} Tagen"},
    "wrong_date": "Nichts wurde gespeichert: Bitte wählen Sie einen Tag nach heute, höchstens ein Jahr voraus.",
    "wrong_form": "Nichts wurde gespeichert: Die Seite kam nicht vollständig an. Bitte wählen Sie noch einmal.",
    "wrong_choice": "Nichts wurde gespeichert: Bitte wählen Sie eine der Zahlen aus der Liste.",
    "gone": "Es gibt nichts mehr zu wählen",
    "gone_why": "Wir haben nichts mehr über Sie gespeichert und senden Ihnen nichts.",
    "unknown": "Dieser Link funktioniert nicht",
    "unknown_why": "Vielleicht wurde er abgeschnitten. Bitte öffnen Sie ihn noch einmal vollständig aus der Nachricht.",
    "not_now": "Das hat nicht geklappt",
    "not_now_why": "Noch ist nichts gespeichert. Bitte gehen Sie zurück und speichern Sie in einer Minute noch einmal.",
}

ITALIAN: Words = {
    "language": "it",
    "title": "Le tue preferenze",
    "intro": "Scegli che cosa vuoi ricevere da noi. Nulla cambia finché non salvi.",
    "save": "Salva",
    "saved": "Salvato. Vale da subito.",
    "nothing": "Disiscriviti da tutto",
    "pause": "Prenditi una pausa",
    "until": "Non inviarmi nulla fino al",
    "until_hint": "Lascia vuoto per non fare pause.",
    "fewer": "Meno messaggi",
    "as_usual": "quanti di solito",
    "every": "Tutti i canali",
    "all": "Tutto",
    "pending": "non ancora confermato",
    "channels": {"email": "E-mail", "sms": "SMS", "push": "Notifiche", "whatsapp": "WhatsApp"},
    "at_most": "al massimo {n}",
    "per": {"day": "al giorno", "week": "a settimana", "month": "al mese", "days": "in {days} giorni"},
    "wrong_date": "Non è stato salvato nulla: scegli un giorno dopo oggi, al massimo tra un anno.",
    "wrong_form": "Non è stato salvato nulla: la pagina non è arrivata per intero. Scegli ancora una volta.",
    "wrong_choice": "Non è stato salvato nulla: scegli uno dei numeri della lista.",
    "gone": "Non c’è più nulla da scegliere",
    "gone_why": "Non conserviamo più nulla su di te e non ti inviamo nulla.",
    "unknown": "Questo link non funziona",
    "unknown_why": "Forse è stato tagliato. Aprilo di nuovo per intero dal messaggio.",
    "not_now": "Non ha funzionato",
    "not_now_why": "Non è ancora stato salvato nulla. Torna indietro e salva di nuovo tra un minuto.",
}

LANGUAGES: Mapping[str, Words] = {str(w["language"]): w for w in (ENGLISH, GERMAN, ITALIAN)}

MOST = 20
"""Languages of a header that are looked at."""


def words_for(header: str, locale: str) -> Words:
    """The texts in the language of LANGUAGES that somebody reads: by their browser (`header`: Accept-Language), else by what is
    known of them (`locale`, such as "it" or "de-AT"), else English."""
    wanted = [tag for _, tag in sorted(_accepted(header), key=lambda one: -one[0])]
    return next((LANGUAGES[known] for tag in (*wanted, locale) if (known := _primary(tag)) in LANGUAGES), ENGLISH)


def _accepted(header: str) -> Iterator[tuple[float, str]]:
    for part in header.split(",")[:MOST]:
        tag, _, rest = part.strip().partition(";")
        weight = rest.strip().removeprefix("q=")
        try:
            found = float(weight) if weight else 1.0
        except ValueError:
            continue
        if 0 < found <= 1:
            yield found, tag


def _primary(tag: str) -> str:
    return tag.strip().replace("_", "-").partition("-")[0].lower()


def channel_label(words: Words, channels: Iterable[str]) -> str:
    """Channels for customers: "E-mail, Text messages"."""
    return ", ".join(words["channels"].get(c, c.replace("_", " ").capitalize()) for c in channels)


def window_label(words: Words, per: str, days: int) -> str:
    """The window of a cap for customers: "a week", "in 7 days" (`per`: "rolling")."""
    return str(words["per"]["days"]).format(days=days) if per == "rolling" else str(words["per"][per])
