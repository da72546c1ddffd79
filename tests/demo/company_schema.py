"""The claims company's own tables in MySQL or MariaDB, with all the columns a real one has, and invented people."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

from tests.demo.former_schema import FORMER
from tests.demo.oracle import UNSIGNED, Exclusion, Words
from tests.demo.shape import (
    BIT,
    DECIMAL,
    ENUM,
    NULLABLE,
    KeyType,
    Layout,
    Requested,
    Shape,
    Signature,
    Vocabulary,
    literal,
)

_TABLE_OPTIONS: Final = "ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"


def _tables(shape: Shape) -> tuple[str, ...]:
    return (
        f"""
    CREATE TABLE users (
        id {shape.user_id} NOT NULL AUTO_INCREMENT,
        email_address VARCHAR(255) NOT NULL,
        password VARCHAR(255) NULL,
        is_enabled {shape.enabled.sql},
        status VARCHAR(255) NULL,
        first_name VARCHAR(255) NULL,
        last_name VARCHAR(255) NULL,
        phone_number VARCHAR(255) NULL,
        date_of_birth DATE NULL,
        previous_name VARCHAR(255) NULL,
        current_user_address_id VARCHAR(255) NULL,
        current_user_id_document_id VARCHAR(255) NULL,
        current_signature_file_id {shape.signature.value} NULL,
        notification_channels JSON NULL,
        third_party_claim_partner VARCHAR(255) NULL,
        introducer VARCHAR(255) NOT NULL DEFAULT 'mcc',
        solicitor VARCHAR(255) NULL,
        credit_response_selection_completed TINYINT(1) NOT NULL DEFAULT 0,
        justcall_id INT NULL,
        voluum_click_id VARCHAR(255) NULL,
        pipedrive_id VARCHAR(255) NULL,
        google_drive_link VARCHAR(255) NULL,
        last_login TIMESTAMP NULL,
        remember_token VARCHAR(100) NULL,
        identity_request JSON NULL,
        identity_response JSON NULL,
        address_request JSON NULL,
        address_response JSON NULL,
        credit_response JSON NULL,
        created_at TIMESTAMP NULL,
        updated_at TIMESTAMP NULL,
        PRIMARY KEY (id),
        KEY users_email_address_index (email_address)
    ) {_TABLE_OPTIONS}
        """,
        f"""
    CREATE TABLE claims (
        id {shape.claim_id.value} NOT NULL{" AUTO_INCREMENT" if shape.claim_id.is_integer else ""},
        user_id {shape.user_id} NOT NULL,
        type VARCHAR(255) NULL,
        status VARCHAR(255) NULL,
        lender VARCHAR(255) NULL,
        solicitor VARCHAR(255) NULL,
        client_last_updated_at TIMESTAMP NULL,
        created_at TIMESTAMP NULL,
        updated_at TIMESTAMP NULL,
        PRIMARY KEY (id),
        KEY claims_user_id_index (user_id){shape.cascade("claims_user_id_foreign", "user_id", "users")}
    ) {_TABLE_OPTIONS}
        """,
        f"""
    CREATE TABLE claim_requirements (
        id {shape.requirement_id.value} NOT NULL,
        claim_id {shape.claim_id.value} {"NULL" if shape.claimless else "NOT NULL"},
        type VARCHAR(255) NULL,
        status VARCHAR(255) NULL,
        claim_requirement_reason VARCHAR(255) NULL,
        claim_requirement_rejection_reason VARCHAR(255) NULL,
        created_at TIMESTAMP NULL,
        updated_at TIMESTAMP NULL,
        PRIMARY KEY (id),
        KEY claim_requirements_claim_id_index (claim_id){
            shape.cascade("claim_requirements_claim_id_foreign", "claim_id", "claims")
        }
    ) {_TABLE_OPTIONS}
        """,
    )


_USER_COLUMNS: Final = (
    "id, email_address, password, status, first_name, last_name, phone_number, date_of_birth, previous_name,"
    " current_user_address_id, current_user_id_document_id, notification_channels, third_party_claim_partner,"
    " solicitor, credit_response_selection_completed, justcall_id, voluum_click_id, pipedrive_id, google_drive_link,"
    " remember_token, identity_request, identity_response, address_request, address_response, credit_response,"
    " is_enabled, current_signature_file_id, last_login, created_at, updated_at"
)
_CLAIM_COLUMNS: Final = "id, user_id, type, status, lender, solicitor, client_last_updated_at, created_at, updated_at"
_REQUIREMENT_COLUMNS: Final = (
    "id, claim_id, type, status, claim_requirement_reason, claim_requirement_rejection_reason, created_at, updated_at"
)

_FIRST_NAMES: Final = ("Anna", "Björn", "Chloé", "Dmitri", "Éva", "Fatima", "Günther", "李", "Zoë 🦊", "O'Brien")
_LENDERS: Final = ("Blue Bank", "Crédit Moyen", "Lender & Sons", None)
_IDENTITY_COLUMNS: Final = 5


def _user(rng: Random, user_id: int, signature: str, enabled: str) -> str:
    known = rng.random() < 0.8  # many columns of a real table are NULL in every fifth row
    asked = rng.random() < 0.3  # of the identity service
    values = (
        user_id,
        f"pii-{user_id}@example.invalid",
        f"$2y$12$pii-{rng.getrandbits(190):048x}" if known else None,
        rng.choice(("active", "ACTIVE", "lead", None)),
        f"pii-{rng.choice(_FIRST_NAMES)}",
        f"pii-{rng.choice(_FIRST_NAMES)[::-1]}",
        f"+99955{rng.randrange(10**7):07d}" if known else None,
        f"191{rng.randrange(10)}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}" if known else None,
        "pii-Smith" if rng.random() < 0.1 else None,
        f"pii-address-{rng.getrandbits(64):016x}" if known else None,
        f"pii-document-{rng.getrandbits(64):016x}" if rng.random() < 0.5 else None,
        json.dumps({"email": known, "sms": f"pii-{rng.choice(_FIRST_NAMES)}"}, ensure_ascii=False),
        rng.choice(("partner", None)),
        rng.choice(("Solicitors LLP", None)),
        rng.random() < 0.5,
        rng.randrange(10**9) if known else None,
        f"pii-{rng.getrandbits(64):016x}" if known else None,
        f"pii-{rng.randrange(10**9)}" if known else None,
        f"https://drive.example/pii-{rng.getrandbits(64):016x}" if known else None,
        f"pii-{rng.getrandbits(128):032x}" if known else None,
        *(_answer(rng) if asked else None for _ in range(_IDENTITY_COLUMNS)),
    )
    rest = f"{enabled}, {signature}, {'NOW()' if known else 'NULL'}, NOW(), NOW()"
    return f"users ({_USER_COLUMNS}) VALUES ({', '.join(map(literal, values))}, {rest})"


def _claim(rng: Random, claim_id: str, user_id: int, status: str | None) -> str:
    values = (
        user_id,
        rng.choice(("pcp", "irresponsible lending", None)),
        status,
        rng.choice(_LENDERS),
        rng.choice(("Solicitors LLP", None)),
    )
    row = f"{claim_id}, {', '.join(map(literal, values))}, {rng.choice(('NULL', 'NOW()'))}, NOW(), NOW()"
    return f"claims ({_CLAIM_COLUMNS}) VALUES ({row})"


def _requirement(rng: Random, asked: Requested) -> str:
    rejected = "pii-the photo shows somebody else" if rng.random() < 0.2 else None
    words = ", ".join(map(literal, (asked.kind, asked.status, asked.reason, rejected)))
    return f"claim_requirements ({_REQUIREMENT_COLUMNS}) VALUES ({asked.key}, {asked.claim}, {words}, NOW(), NOW())"


def _personal_change(rng: Random, user_id: int) -> str:
    return rng.choice(
        (
            f"email_address = 'pii-{user_id}-{rng.randrange(10**6)}@example.invalid'",
            f"last_login = NOW(), remember_token = 'pii-{rng.getrandbits(128):032x}'",
            f"identity_request = {literal(_answer(rng))}, identity_response = {literal(_answer(rng))}",
            f"current_user_address_id = 'pii-address-{rng.getrandbits(64):016x}', status = 'Active'",
            f"date_of_birth = '191{rng.randrange(10)}-02-03', phone_number = '+99955{rng.randrange(10**7):07d}'",
        )
    )


def _answer(rng: Random) -> str:
    """Kilobytes of JSON."""
    checks = [
        {
            "name": f"pii-{rng.choice(_FIRST_NAMES)}",
            "score": rng.randrange(100),
            "detail": "passed " * rng.randrange(60),
        }
        for _ in range(rng.randrange(4, 12))
    ]
    return json.dumps({"reference": f"pii-{rng.getrandbits(64):016x}", "checks": checks}, ensure_ascii=False)


COMPANY: Final = Shape(
    "company",
    Layout(_tables, _user, _claim, _requirement, _personal_change),
    Vocabulary(
        open_claim=("PENDING", "pending", "submitted", "In Review", None),
        closed_claim=("cancelled", "CANCELLED", "Cancelled", "cancelled "),
        owed=("PENDING", "pending", "Pending", "PENDING "),
        asked=("PENDING", "PENDING", "pending"),
        handed_in="submitted",
        approved=("approved", "Approved", "APPROVED", "approved  "),
        refused=("rejected", "PENDING", "pending", None),
        kinds=(
            "proof_of_address",
            "bank_statement",
            "Bank_Statement",
            "credit_agreement",
            "id_document",
            "id_document",
            "ID_DOCUMENT",
            "signature",
            "vehicle_registration",
            "CFA",
            "letter_of_authority",
            "solicitor_letter_of_authority ",
            None,
        ),
        reasons=(
            None,
            "base requirement for claim.",
            "Base requirement for claim.",
            "base requirement for claim. ",
            "base requirement for claim",
            "the copy is unreadable",
        ),
    ),
    Words(
        closed=frozenset({"cancelled"}),
        outstanding=frozenset({"pending"}),
        excluded=(
            Exclusion("signature"),
            Exclusion("vehicle_registration"),
            Exclusion("cfa"),
            Exclusion("solicitor_letter_of_authority"),
            Exclusion("letter_of_authority"),
            Exclusion("id_document", "base requirement for claim."),
        ),
        labels=(UNSIGNED, "outstanding_requests", None),
    ),
    Path(__file__).with_name("company-rules.toml"),
)
"""The company that exists."""

VARIANTS: Final = (
    # ids of 32 bits, some below 0; who is enabled may be NULL
    replace(
        COMPANY,
        name="int",
        user_id="INT",
        claim_id=KeyType.INT,
        requirement_id=KeyType.INT,
        enabled=NULLABLE,
        signature=Signature.BIGINT,
        low_ids=True,
    ),
    # ids of 64 bits, signed and unsigned, without foreign keys; requirements of no claim
    replace(
        COMPANY,
        name="bigint",
        user_id="BIGINT",
        claim_id=KeyType.BIGINT,
        requirement_id=KeyType.UNSIGNED,
        enabled=BIT,
        foreign_keys=False,
        claimless=True,
        low_ids=True,
    ),
    # ids in text, spelled one way here and another way there
    replace(
        COMPANY,
        name="text",
        claim_id=KeyType.VARCHAR,
        requirement_id=KeyType.CHAR,
        enabled=ENUM,
        respelled=True,
    ),
    # the same without foreign keys: what is left of deleted customers and claims belongs to nobody
    replace(
        COMPANY,
        name="text-alone",
        claim_id=KeyType.CHAR,
        requirement_id=KeyType.VARCHAR,
        foreign_keys=False,
        respelled=True,
        claimless=True,
    ),
    # ids and signatures in bytes
    replace(
        COMPANY,
        name="binary",
        claim_id=KeyType.BINARY,
        requirement_id=KeyType.BINARY,
        signature=Signature.BINARY,
        enabled=DECIMAL,
    ),
)
"""Companies whose tables differ from COMPANY's, each in several ways at once."""
MARIADB_VARIANTS: Final = (
    replace(COMPANY, name="uuid", claim_id=KeyType.UUID, requirement_id=KeyType.UUID, respelled=True, claimless=True),
)
"""With types that only MariaDB has."""
SHAPES: Final = {shape.name: shape for shape in (COMPANY, FORMER, *VARIANTS, *MARIADB_VARIANTS)}
"""Every shape there is, by its name."""
