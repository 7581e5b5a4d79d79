"""The English name of a language by its ISO 639 code, as Amplitude shows it."""

from __future__ import annotations

__all__ = ["LANGUAGES"]

_NAMES = """
af=Afrikaans ar=Arabic be=Belarusian bg=Bulgarian bn=Bengali ca=Catalan cs=Czech cy=Welsh da=Danish de=German
el=Greek en=English es=Spanish et=Estonian eu=Basque fa=Persian fi=Finnish fr=French ga=Irish gl=Galician
gu=Gujarati he=Hebrew hi=Hindi hr=Croatian hu=Hungarian hy=Armenian id=Indonesian is=Icelandic it=Italian
ja=Japanese ka=Georgian kk=Kazakh ko=Korean lt=Lithuanian lv=Latvian mk=Macedonian ml=Malayalam mr=Marathi
ms=Malay nb=Norwegian nl=Dutch nn=Norwegian no=Norwegian pa=Punjabi pl=Polish pt=Portuguese ro=Romanian
ru=Russian sk=Slovak sl=Slovenian sq=Albanian sr=Serbian sv=Swedish sw=Swahili ta=Tamil te=Telugu th=Thai
tr=Turkish uk=Ukrainian ur=Urdu uz=Uzbek vi=Vietnamese zh=Chinese zu=Zulu
"""
LANGUAGES = dict(pair.split("=") for pair in _NAMES.split())
