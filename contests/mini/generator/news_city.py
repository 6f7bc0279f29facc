"""News briefs from town halls and public offices."""

from __future__ import annotations

from contests.mini.generator.drawing import Draw
from contests.mini.generator.topic import (
    Topic,
    Values,
    day,
    korean_amount,
    number,
    other_than,
    person,
    whole_number,
    year,
)
from contests.mini.generator.words import TOWNS

_EOK = 100_000_000  # won


def _cost(draw: Draw, values: Values) -> str:
    """Some 300 to 600 million won for every kilometre."""
    return korean_amount(whole_number(values, "길이") * draw.between(30, 60) // 10 * _EOK, "원")


def _first_estimate(draw: Draw, values: Values) -> str:
    """What was estimated before: 60 to 90 percent of the cost."""
    return korean_amount(whole_number(values, "예산") * draw.between(60, 90) // 100 * _EOK, "원")


WATER_PIPES = Topic(
    name="노후 상수도관 교체",
    slots={
        "도시": TOWNS,
        "길이": number(12, 180, unit="km"),
        "전체": number(310, 990, unit="km"),
        "예산": _cost,
        "완료": year(2026, 2032),
        "작년": number(11, 96, unit="건"),
        "원인": ("녹물", "누수", "수압 저하", "단수 사고", "흐린 물"),
        "과장": person,
        "발표일": day(),
        "구간": ("구도심", "산업단지 주변", "전통시장 일대", "대학가", "역세권", "해안 마을", "농촌 지역"),
        "몇해": ("세 해", "네 해", "다섯 해", "여섯 해", "일곱 해"),
        "주민": person,
        "첫길이": number(190, 260, unit="km"),
        "첫예산": _first_estimate,
        "시간": number(2, 9, unit="시간"),
        "가구": number(120, 4_800, 20, "가구"),
        "다른구간": other_than("구간", ("구도심", "산업단지 주변", "전통시장 일대", "신도시", "역세권")),
    },
    openings=(
        "{도시}에서 {원인} 문제가 잇따라 주민들의 걱정이 크다.\n",
        "{발표일} {도시} 상수도사업소에는 아침부터 취재진이 몰렸다.",
        "오래된 수도관 문제로 {도시|이} {몇해}째 몸살을 앓고 있다.\n",
        '"밥을 안칠 때마다 물빛부터 봅니다." {도시} {구간}에 사는 {주민} 씨의 말이다.\n',
    ),
    facts=(
        (
            "시설을 점검한 결과 전체 {전체} 가운데 {길이|이} 묻힌 지 30년을 넘긴 것으로 나타났고, 이 관들이 모두 새것으로 바뀐다.",
            "{도시|은} 새로 묻을 관의 길이를 {첫길이}에서 {길이|으로} 고쳐 잡았다.",
            "교체 대상은 {길이|으로}, 전체 관로 {전체|과} 견주면 일부이지만 사고가 잦은 곳이다.",
        ),
        (
            "공사는 구간을 나누어 차례로 진행되며 {완료}에 끝난다.",
            "마지막 구간의 관을 묻는 때는 {완료|이다}.",
            "{도시|은} 모든 구간의 공사를 {완료}까지 마무리한다는 계획을 세웠다.",
        ),
        (
            "들어가는 돈은 {예산|으로} 추산되며 절반은 국비로 채운다.\n",
            "사업비 {예산|은} 국비와 지방비로 나누어 마련한다.\n",
            "{도시|이} 이 일에 쓸 돈은 모두 {예산|이다}. 처음 어림한 {첫예산}에서 달라졌다.\n",
        ),
    ),
    asides=(
        "지난해 {도시}에서 접수된 {원인} 신고는 {작년}이었다.",
        "공사는 {구간}부터 시작하고 {다른구간|은} 그다음 차례가 된다.",
        '{과장} 급수과장은 "공사 시간에는 미리 물을 받아 두셔야 한다"고 당부했다.',
        "{도시|은} {원인} 신고가 들어오면 {시간} 안에 나가 보겠다고 약속했다.",
        "{구간}에서는 지난달에도 {원인} 탓에 {가구|이} 불편을 겪었다.",
        '{주민} 씨는 "{몇해|을} 기다린 일"이라며 반겼다.',
        "옛 관에서 나온 쇠붙이는 팔아 {다른구간} 소화전을 고치는 데 쓴다.",
        "{도시} 주민 모임은 {원인} 문제를 여러 차례 시청에 알렸다고 한다.",
        "전문가들은 {길이|을} 바꾸는 것만으로 {원인} 문제가 다 풀리지는 않는다고 말한다.",
    ),
    closings=(
        "{도시|은} 공사 일정을 {발표일}부터 누리집에 올린다.",
        "공사로 물이 끊기는 {도시} 가구에는 하루 전에 문자로 알린다.",
    ),
    summaries=(
        "{도시|이} {예산|을} 들여 노후 상수도관 {길이|을} {완료}까지 교체한다.",
        "{도시} 노후 상수도관 {길이|이} {예산|을} 들여 {완료}까지 새것으로 바뀐다.",
    ),
    asides_per_document=(3, 4),
    in_order=True,
)

TOPICS: tuple[Topic, ...] = (WATER_PIPES,)
