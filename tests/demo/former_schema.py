"""Tables with columns of many types before and between the captured ones, and another company's words and rules.

Requirements have numbers, their types are an ENUM, times have fractions of seconds and are set by the server.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Final

from tests.demo.oracle import Exclusion, Words
from tests.demo.shape import KeyType, Layout, Requested, Shape, Vocabulary, literal

REQUIREMENT_TYPES: Final = ("id_document", "proof_of_address", "bank_statement", "medical_report", "marketing_consent")
"""What the ENUM `claim_requirements.type` knows."""

_TYPES: Final = ", ".join(f"'{word}'" for word in REQUIREMENT_TYPES)


def _tables(shape: Shape) -> tuple[str, ...]:
    return (
        f"""
    CREATE TABLE users (
        id {shape.user_id} NOT NULL AUTO_INCREMENT,
        email VARCHAR(190) NOT NULL,
        phone VARCHAR(32) NULL,
        password_hash CHAR(60) NOT NULL,
        title ENUM('mr', 'ms', 'mx', 'dr') NULL,
        first_name VARCHAR(80) NOT NULL,
        last_name VARCHAR(80) NOT NULL,
        birth_date DATE NULL,
        address_line_1 VARCHAR(120) NULL,
        address_line_2 VARCHAR(120) NULL,
        postcode VARCHAR(16) NULL,
        city VARCHAR(80) NULL,
        country CHAR(2) NOT NULL DEFAULT 'GB',
        national_insurance_number VARBINARY(64) NULL,
        bank_account TINYTEXT NULL,
        monthly_income DECIMAL(12, 2) NULL,
        preferences JSON NULL,
        marketing_channels SET('email', 'phone', 'post', 'sms') NOT NULL DEFAULT '',
        avatar MEDIUMBLOB NULL,
        flags BIT(5) NOT NULL DEFAULT b'0',
        home_location POINT NULL,
        current_signature_file_id {shape.signature.value} NULL,
        ip_address VARBINARY(16) NULL,
        login_count SMALLINT UNSIGNED NOT NULL DEFAULT 0,
        credit_score FLOAT NULL,
        distance_km DOUBLE NULL,
        is_enabled {shape.enabled.sql},
        remember_token VARCHAR(100) NULL,
        last_login_at DATETIME(3) NULL,
        preferred_call_time TIME(2) NULL,
        customer_since YEAR NULL,
        notes LONGTEXT NULL,
        created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
        updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
        version INT NOT NULL DEFAULT 1,
        PRIMARY KEY (id),
        KEY users_email (email)
    ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
        """,
        f"""
    CREATE TABLE claims (
        id {shape.claim_id.value} NOT NULL,
        reference CHAR(12) NOT NULL,
        user_id {shape.user_id} NOT NULL,
        amount DECIMAL(14, 4) NULL,
        incident_date DATE NULL,
        incident_description TEXT NULL,
        details JSON NULL,
        priority TINYINT NOT NULL DEFAULT 0,
        status VARCHAR(24) NULL,
        assessor_flags BIT(11) NULL,
        closed_on DATE NULL,
        created_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
        updated_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
        PRIMARY KEY (id),
        KEY claims_user (user_id){shape.cascade("claims_of_user", "user_id", "users")}
    ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
        """,
        f"""
    CREATE TABLE claim_requirements (
        id {shape.requirement_id.value} NOT NULL,
        claim_id {shape.claim_id.value} NOT NULL,
        sort_key DECIMAL(6, 3) NOT NULL DEFAULT 0,
        document MEDIUMBLOB NULL,
        file_name VARCHAR(255) NULL,
        type ENUM({_TYPES}) NULL,
        delivered_by SET('post', 'upload', 'agent') NULL,
        status VARCHAR(24) NULL,
        is_urgent BIT(1) NOT NULL DEFAULT b'0',
        due_date DATE NULL,
        extracted JSON NULL,
        claim_requirement_reason VARCHAR(255) NULL,
        created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
        updated_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
        PRIMARY KEY (id),
        KEY claim_requirements_claim (claim_id){shape.cascade("requirements_of_claim", "claim_id", "claims")}
    ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
        """,
    )


_USER_COLUMNS: Final = (
    "id, email, phone, password_hash, title, first_name, last_name, birth_date, address_line_1, address_line_2,"
    " postcode, city, country, national_insurance_number, bank_account, monthly_income, preferences,"
    " marketing_channels, avatar, flags, home_location, current_signature_file_id, ip_address, login_count,"
    " credit_score, distance_km, is_enabled, remember_token, last_login_at, preferred_call_time, customer_since, notes"
)

_CLAIM_COLUMNS: Final = (
    "id, reference, user_id, amount, incident_date, incident_description, details, priority, status, assessor_flags"
)

_REQUIREMENT_COLUMNS: Final = (
    "id, claim_id, sort_key, document, file_name, type, delivered_by, status, is_urgent, due_date, extracted,"
    " claim_requirement_reason"
)

_FIRST_NAMES = ("Anna", "Björn", "Chloé", "Dmitri", "Éva", "Fatima", "Günther", "李", "Zoë 🦊", "O'Brien")
_CITIES = ("Leeds", "Köln", "São Paulo", "Kraków", "İzmir", "東京")


def _personal_change(rng: Random, user_id: int) -> str:
    """Assignments that change personal columns only."""
    return rng.choice(
        (
            f"email = 'pii-{user_id}-{rng.randrange(10**6)}@example.invalid', version = version + 1",
            "last_login_at = UTC_TIMESTAMP(3), login_count = LEAST(login_count + 1, 65535),"
            f" ip_address = {literal(_address(rng))}",
            f"preferences = {literal(_preferences(rng))}, credit_score = {rng.uniform(1, 999):.3f}",
            f"address_line_1 = 'pii-{rng.randrange(999)} New Street', monthly_income = {_income(rng)}",
            f"notes = {literal('pii-note ' + 'called back, ' * rng.randrange(60))}, avatar = {literal(_blob(rng))}",
        )
    )


def _user(rng: Random, user_id: int, signature: str, enabled: str) -> str:
    known = rng.random() < 0.8  # many columns of a real table are NULL in every fifth row
    name = rng.choice(_FIRST_NAMES)
    values = (
        user_id,
        f"pii-{user_id}@example.invalid",
        f"+99955{rng.randrange(10**7):07d}" if known else None,
        f"$2b$12$pii-{rng.getrandbits(190):048x}",
        rng.choice(("mr", "ms", "mx", "dr", None)),
        f"pii-{name}",
        f"pii-{rng.choice(_FIRST_NAMES)[::-1]}",
        f"191{rng.randrange(10)}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}" if known else None,
        f"pii-{rng.randrange(999)} High Street",
        "pii-Flat 3" if rng.random() < 0.3 else None,
        f"pii-{rng.randrange(99999)}",
        f"pii-{rng.choice(_CITIES)}" if known else None,
        rng.choice(("GB", "DE", "FR")),
        b"pii-" + rng.randbytes(12),
        f"pii-GB{rng.randrange(10**18):018d}" if known else None,
    )
    rest = (
        literal(_preferences(rng)),
        literal(",".join(rng.sample(("email", "phone", "post", "sms"), rng.randrange(5)))),
        literal(_blob(rng) if rng.random() < 0.2 else None),
        f"b'{rng.randrange(32):05b}'",
        f"ST_GeomFromText('POINT({rng.uniform(-90, 90):.6f} {rng.uniform(-90, 90):.6f})')" if known else "NULL",
        signature,
        literal(_address(rng)),
        str(rng.randrange(65536)),
        f"{rng.uniform(1, 999):.3f}" if known else "NULL",
        f"{rng.uniform(0, 20000):.9f}",
        enabled,
        literal(f"pii-{rng.getrandbits(128):032x}" if known else None),
        "UTC_TIMESTAMP(3)" if known else "NULL",
        literal(f"{rng.randrange(24):02d}:{rng.randrange(60):02d}:00.25"),
        str(rng.randrange(1990, 2026)),
        literal("pii-note " + "speaks softly; " * rng.randrange(40)) if known else "NULL",
    )
    income = _income(rng) if known else "NULL"
    return f"users ({_USER_COLUMNS}) VALUES ({', '.join([*map(literal, values), income, *rest])})"


def _claim(rng: Random, claim_id: str, user_id: int, status: str | None) -> str:
    values = (
        f"C{rng.randrange(10**11):011d}",
        user_id,
        round(rng.uniform(100, 90_000), 4),
        f"20{rng.randrange(10, 25)}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}",
        "pii-slipped on " + "wet tiles, " * rng.randrange(20) if rng.random() < 0.7 else None,
        json.dumps({"witness": f"pii-{rng.choice(_FIRST_NAMES)}", "injuries": rng.randrange(4)}, ensure_ascii=False),
        rng.randrange(-128, 128),
        status,
    )
    flags = f"b'{rng.randrange(2048):011b}'" if rng.random() < 0.5 else "NULL"
    return f"claims ({_CLAIM_COLUMNS}) VALUES ({', '.join([claim_id, *map(literal, values), flags])})"


def _requirement(rng: Random, asked: Requested) -> str:
    values = (
        rng.randrange(999_999) / 1000,
        _blob(rng) if rng.random() < 0.2 else None,
        f"pii-{rng.randrange(10**6)}.pdf" if rng.random() < 0.6 else None,
        asked.kind,
        ",".join(rng.sample(("post", "upload", "agent"), rng.randrange(3))),
        asked.status,
    )
    rest = (
        f"b'{rng.randrange(2)}'",
        literal(f"20{rng.randrange(25, 40)}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}"),
        literal(_preferences(rng) if rng.random() < 0.3 else None),
        literal(asked.reason),
    )
    row = [asked.key, asked.claim, *map(literal, values), *rest]
    return f"claim_requirements ({_REQUIREMENT_COLUMNS}) VALUES ({', '.join(row)})"


def _preferences(rng: Random) -> str:
    return json.dumps({"theme": rng.choice(("dark", "light")), "nickname": f"pii-{rng.choice(_FIRST_NAMES)}"})


def _income(rng: Random) -> str:
    return f"7770077{rng.randrange(10)}.{rng.randrange(100):02d}"


def _address(rng: Random) -> bytes:
    return b"pii-" + rng.randbytes(12)


def _blob(rng: Random) -> bytes:
    return b"pii-" + rng.randbytes(rng.randrange(400))


FORMER: Final = Shape(
    "former",
    Layout(_tables, _user, _claim, _requirement, _personal_change),
    Vocabulary(
        open_claim=("open", "in_review", "submitted", "Open", None),
        closed_claim=("cancelled", "Cancelled", "rejected", "cancelled "),
        owed=("requested", "submitted", "rejected", "unreadable", None),
        asked=("requested",),
        handed_in="submitted",
        approved=("approved", "approved", "approved", "APPROVED", "waived", "approved  "),
        refused=("rejected", "unreadable", None),
        kinds=(*REQUIREMENT_TYPES, None),
        reasons=(None, "the copy is unreadable", "expired — please renew", "needed by the court"),
    ),
    Words(
        closed=frozenset({"cancelled", "rejected"}),
        settled=frozenset({"approved", "waived"}),
        excluded=(Exclusion("marketing_consent"),),
    ),
    Path(__file__).with_name("former-rules.toml"),
    requirement_id=KeyType.UNSIGNED,
    own_times=False,
)
"""The plan's words and queues, and rules by what is settled."""
