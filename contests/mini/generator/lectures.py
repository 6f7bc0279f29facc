"""Lectures and talks: what a teacher told a class, as it was spoken or as a student wrote it down.

Each is built round one case of the lecturer's own: a class experiment, a survey, a worked example, the
history of a craft. What was compared stands in one place, what came of it in another, and the rule drawn
from it in a third. The general knowledge is true; the people, towns, figures and results are invented.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import median

from contests.mini.generator.drawing import Draw
from contests.mini.generator.topic import Slot, Topic, Values, clock, day, korean_amount, number, other_than, person
from contests.mini.generator.words import TOWNS

_MONTH_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_YEAR_DAYS = sum(_MONTH_LENGTHS)


def _days_after(name: str, low: int, high: int) -> Slot:
    """The date ``low`` to ``high`` days after (negative: before) the date in the slot ``name``."""

    def write(draw: Draw, values: Values) -> str:
        month, date = (int(digits) for digits in re.findall(r"\d+", values[name]))
        days = (sum(_MONTH_LENGTHS[: month - 1]) + date - 1 + draw.between(low, high)) % _YEAR_DAYS
        month = 1
        while days >= _MONTH_LENGTHS[month - 1]:
            days -= _MONTH_LENGTHS[month - 1]
            month += 1
        return f"{month}월 {days + 1}일"

    return write


def _value(values: Values, name: str) -> float:
    """The number in the slot ``name``, without its unit."""
    return float(re.sub(r"[^\d.]", "", values[name]))


def _plus(name: str, low: int, high: int, step: int = 1, unit: str = "") -> Slot:
    """The whole number in the slot ``name`` plus ``low`` to ``high``."""
    return lambda draw, values: f"{int(_value(values, name)) + draw.between(low, high, step):,}{unit}"


def _share(name: str, low: int, high: int, unit: str = "") -> Slot:
    """``low`` to ``high`` percent of the number in the slot ``name``, rounded down, at least 1."""
    return lambda draw, values: f"{max(1, int(_value(values, name) * draw.between(low, high) / 100)):,}{unit}"


def _left_after(name: str, percent: str, unit: str = "") -> Slot:
    """The number in the slot ``name`` less the percentage in the slot ``percent``, rounded."""
    return lambda draw, values: f"{round(_value(values, name) * (100 - _value(values, percent)) / 100):,}{unit}"


def _less(name: str, taken: str, unit: str = "") -> Slot:
    """The number in the slot ``name`` less the one in the slot ``taken``."""
    return lambda draw, values: f"{int(_value(values, name) - _value(values, taken)):,}{unit}"


def _tenths(low: int, high: int, unit: str = "") -> Slot:
    """A number with one decimal, from ``low`` to ``high`` tenths: ``_tenths(112, 129, "%")``."""
    return lambda draw, values: f"{draw.between(low, high) / 10:.1f}{unit}"


def _money(*names: str, low: int = 0, high: int = 0, step: int = 1) -> Slot:
    """The sum of the bare numbers in the slots ``names``, plus ``low`` to ``high``, in units of 10,000 won."""

    def write(draw: Draw, values: Values) -> str:
        return korean_amount((sum(int(values[name]) for name in names) + draw.between(low, high, step)) * 10_000, "원")

    return write


def _column(name: str, table: Mapping[str, Sequence[str]], index: int) -> Slot:
    """Entry ``index`` of the row that ``table`` holds for the value of the slot ``name``."""
    return lambda draw, values: table[values[name]][index]


def _none_of(names: Sequence[str], words: Sequence[str]) -> Slot:
    """A word of ``words`` that is the value of none of the slots ``names``."""
    return lambda draw, values: draw.choose([word for word in words if word not in {values[n] for n in names}])


_SCHOOLS = (
    "늘빛평생학습관", "도담문화원", "새뜸도서관", "한들배움터", "물결시민대학", "온누리문화센터", "참솔복지관", "가온학습관",
    "너른마당도서관", "돌다리문화원", "샘골배움터", "나루터도서관", "둥근달문화센터", "솔바람복지관", "윤슬학습관",
    "별마루문화원", "해오름도서관", "들꽃평생학습관",
)  # fmt: skip
_UNIVERSITIES = (
    "한들대", "늘솔대", "새온대", "가람누리대", "도담대", "미리내대", "참빛대", "두레대", "너른대", "아침나루대", "온샘대",
    "푸른별대",
)  # fmt: skip
_HIGH_SCHOOLS = (
    "새뜸고", "한울고", "늘푸른고", "도란고", "물빛고", "다솜고", "참나래고", "해밀고", "솔내음고", "가온누리고", "여울목고",
    "들샘고", "은솔고", "큰빛고",
)  # fmt: skip
_LESSON = number(2, 15, unit="강")

# --- cooking science: roasting coffee -----------------------------------------------------------------

_ORIGINS = (
    "콜롬비아", "과테말라", "에티오피아", "케냐", "브라질", "코스타리카", "온두라스", "페루", "르완다", "탄자니아", "엘살바도르",
    "니카라과", "멕시코", "볼리비아", "에콰도르", "파나마", "우간다", "부룬디",
)  # fmt: skip

# What to do with dark beans, as the summary has it: the reason and the advice as they are spoken.
_COFFEE_ADVICE = {
    "숟가락 대신 저울로 재야": ("속이 부풀어 한 숟가락을 떠도 덜 나가니까", "숟가락으로 뜨지 말고 꼭 저울에 달아 쓰세요"),
    "끓인 물을 식혀서 부어야": ("쓴맛이 쉽게 우러나니까", "팔팔 끓인 물을 잠깐 식혔다가 부으세요"),
    "조금씩 볶아 일찍 마셔야": ("틈이 많아 향이 빨리 달아나니까", "한꺼번에 볶지 말고 조금씩 볶아 얼른 드세요"),
    "조금 더 굵게 갈아 써야": ("성분이 빠르게 녹아 나오니까", "분쇄기를 평소보다 굵은 쪽으로 돌려놓으세요"),
    "뚜껑 있는 통에 담아야": ("겉에 기름이 배어 공기가 닿으면 쉽게 절니까", "봉지째 두지 말고 뚜껑이 꼭 맞는 통에 옮기세요"),
    "물에 닿는 시간을 줄여야": ("물이 금세 스며 맛이 지나치게 빠져나오니까", "물과 닿는 시간을 여느 때보다 짧게 잡으세요"),
}

COFFEE = Topic(
    name="커피 볶기 강의",
    slots={
        "배움터": _SCHOOLS,
        "강": _LESSON,
        "강사": person,
        "수강생": person,
        "산지": _ORIGINS,
        "다른산지": other_than("산지", _ORIGINS),
        "무게": number(200, 900, 20, "g"),
        "온도": number(206, 230, unit="℃"),
        "짧은": number(6, 8, unit="분"),
        "가운데": _plus("짧은", 2, 3, unit="분"),
        "긴": _plus("가운데", 2, 5, unit="분"),
        "짧은감량": _tenths(111, 131, "%"),
        "가운데감량": _tenths(141, 162, "%"),
        "긴감량": _tenths(172, 214, "%"),
        "긴무게": _left_after("무게", "긴감량", "g"),
        "지난감량": _tenths(135, 168, "%"),
        "조언": tuple(_COFFEE_ADVICE),
        "이유": _column("조언", _COFFEE_ADVICE, 0),
        "권하는말": _column("조언", _COFFEE_ADVICE, 1),
        "인원": number(12, 29, unit="명"),
        "좋아한수": _share("인원", 35, 80, "명"),
        "초": number(4, 15, unit="초"),
        "내림": number(6, 19, unit="℃"),
        "수분": _tenths(101, 122, "%"),
        "부피": _tenths(15, 19, "배"),
        "값": number(9_500, 17_800, 100, "원"),
        "다른값": number(9_500, 17_800, 100, "원"),
        "남은달": number(10, 14, unit="개월"),
        "다음날": day(),
    },
    openings=(
        "안녕하세요, {배움터} 커피 교실 {강} 시작할게요. 앞에 놓인 {산지} 생두부터 손으로 한번 만져 보세요.\n",
        "여러분, 커피가 볶이는 냄새 좋지요? {배움터}에서 커피를 가르치는 {강사|이에요}. {강}에서는 {산지} 커피를 다뤄요.\n",
        "{배움터} 커피 교실 {강}에 오신 걸 환영해요. 제 이름은 {강사}, {산지} 커피만 여러 해 볶아 온 사람이에요.\n",
    ),
    facts=(
        (
            "제가 미리 실험을 하나 했어요. {산지} 생두 {무게}씩을 {온도|으로} 달군 볶음기에 넣고 각각 {짧은}, {가운데}, {긴} 만에 "
            "꺼냈지요.",
            "{산지} 생두를 {무게}씩 세 봉지로 나눈 다음, 볶는 시간만 {짧은}, {가운데}, {긴|으로} 다르게 해 보았어요.",
            "볶음기를 {온도}에 맞춰 두고 {무게}씩 나눈 생두를 첫 봉지는 {짧은}, 둘째 봉지는 {가운데}, 셋째 봉지는 {긴} 볶았어요.",
            "비교는 이렇게 했어요. {온도} 볶음기에 {무게}씩 넣고 볶는 시간을 {짧은}, {가운데}, {긴|으로} 늘려 간 거예요.",
        ),
        (
            "저울에 달아 보니 가장 짧게 볶은 것은 {짧은감량}, 중간 것은 {가운데감량}, 가장 오래 볶은 것은 {긴감량}만큼 가벼워졌어요.\n",
            "가장 짧게 볶은 원두는 무게가 {짧은감량} 줄었는데, 가장 오래 볶은 원두는 {긴감량|이나} 줄어 {긴무게}만 남았어요.\n",
            "볶기 전과 견준 무게를 칠판에 적어 볼게요. 가장 짧은 쪽은 {짧은감량}, 중간은 {가운데감량}, 가장 긴 쪽은 {긴감량} 감소예요.\n",
            "맨 마지막에 꺼낸 원두는 {무게}에서 {긴무게|으로} {긴감량} 줄었고, 맨 먼저 꺼낸 원두는 {짧은감량} 줄었어요.\n",
        ),
        (
            "오래 볶은 원두는 {이유}, {산지} 커피를 진하게 볶으셨다면 {권하는말}.",
            "오늘 이것만은 가져가세요. 오래 볶은 {산지} 원두는 {이유}, {권하는말}.",
            "그래서 {강사} 선생의 잔소리가 나갑니다. 오래 볶은 원두는 {이유}, {권하는말}. 값이 1kg에 {값|이나} 하는 원두잖아요.",
        ),
    ),
    asides=(
        "{가운데} 볶은 {산지} 원두는 신맛과 쓴맛이 고르게 나서 지난 반 {인원} 가운데 {좋아한수|이} 가장 좋아했어요.",
        "지난 시간에는 {다른산지} 생두 {무게|을} 볶았는데 그때는 {지난감량|이} 줄었지요.",
        "우리 볶음기는 문을 {초}만 열어도 안쪽이 {내림|이나} 식으니까 궁금해도 참으셔야 해요.",
        "생두에는 물기가 들어 있어요. {산지} 생두를 재 보니 {수분}, {다른산지} 생두도 비슷했어요.",
        "값은 1kg에 {산지} 생두가 {값}, {다른산지} 생두가 {다른값} 정도 해요.",
        "부피는 거꾸로예요. {산지} 생두를 {긴} 볶아 유리병에 담으니 처음의 {부피} 가까이 부풀어 있었어요.",
        "생두는 그늘진 곳에 두면 {남은달}쯤 가지만, {산지} 커피든 {다른산지} 커피든 볶고 나면 사정이 달라요.",
        "{수강생} 님이 연기가 걱정된다고 하셨는데, 창문을 열고 {긴} 안에 끝내면 {무게} 정도는 괜찮아요.",
    ),
    closings=(
        "{다음날} 수업에는 {다른산지} 생두를 {인원} 몫으로 준비해 둘게요.",
        "다음 {다음날}에는 {다른산지} 커피를 마셔 볼 테니 집에서 쓰는 잔을 하나씩 가져오세요.",
        "{다음날}에 {산지} 커피로 짧은 시험을 볼 거예요. 모두 {인원|이니} 차례로 앞에 나와 볶으시면 돼요.",
    ),
    summaries=(
        "생두를 {긴} 볶으면 무게가 {긴감량} 줄며, 이렇게 오래 볶은 원두는 {조언} 한다.",
        "생두를 {긴} 볶자 무게가 {긴감량} 줄었고, 오래 볶은 원두는 {조언} 한다고 설명했다.",
        "{긴} 볶은 생두는 {긴감량} 가벼워졌으며, 오래 볶은 원두는 {조언} 한다고 했다.",
    ),
    asides_per_document=(3, 5),
    in_order=True,
)

# --- economics: opportunity cost ----------------------------------------------------------------------

# A course to choose, and what had been bought for it before.
_COURSES = {
    "도예 강좌": ("물레 앞치마",),
    "목공 강좌": ("공구함",),
    "수영 강습": ("물안경과 수영복",),
    "기타 강습": ("중고 기타",),
    "사진 강좌": ("삼각대",),
    "제빵 강좌": ("반죽 그릇",),
    "바둑 강좌": ("바둑판",),
    "코딩 강좌": ("새 자판",),
    "드럼 강습": ("연습용 북채와 고무판",),
    "천문 캠프": ("쌍안경",),
    "연극 캠프": ("분장 도구",),
    "승마 강습": ("승마 장화",),
    "등산 캠프": ("배낭",),
    "서예 강좌": ("붓과 벼루",),
}
_JOBS = (
    "카페 일", "서점 일", "과외", "편의점 일", "빵집 일", "꽃집 일", "농장 일", "번역 일", "식당 일", "창고 정리", "도서관 사서 보조",
    "택배 분류", "수영장 안내", "영화관 매표", "세차장 일", "박물관 안내",
)  # fmt: skip

OPPORTUNITY_COST = Topic(
    name="기회비용 강의",
    slots={
        "학교": _HIGH_SCHOOLS + _UNIVERSITIES,
        "강": _LESSON,
        "인물": person,
        "강좌": tuple(_COURSES),
        "준비물": _column("강좌", _COURSES, 0),
        "좋은일": _JOBS,
        "못한일": other_than("좋은일", _JOBS),
        "좋은값수": number(46, 98),
        "수강료수": number(6, 34),
        "좋은값": _money("좋은값수"),
        "낮춤": number(4, 22),
        "못한값수": _less("좋은값수", "낮춤"),
        "못한값": _money("못한값수"),
        "수강료": _money("수강료수"),
        "합": _money("좋은값수", "수강료수"),
        "틀린합": _money("좋은값수", "못한값수", "수강료수"),
        "기간": ("여름 방학 넉 주", "겨울 방학 다섯 주", "봄 방학 두 주", "방학 첫 달", "여름 방학 한 달", "겨울 방학 끝 달"),
        "준비값": number(21_000, 98_000, 1_000, "원"),
        "손든수": number(3, 27, unit="명"),
        "가게": ("국숫집", "문구점", "자전거 가게", "옷 수선집", "분식집", "철물점", "안경점", "사진관", "떡집", "세탁소"),
        "방값수": number(22, 68),
        "방값": _money("방값수"),
        "줄시간": number(2, 6, unit="시간"),
        "시급": number(10_400, 14_900, 100, "원"),
        "시험일": day(),
        "문항": number(3, 9, unit="문항"),
        "쪽": number(24, 198, unit="쪽"),
        "학생": person,
    },
    openings=(
        "{학교} 경제 {강}입니다. 세상에 공짜는 없다는 말을 숫자로 따져 보는 시간이지요. 오늘 예로 들 사람은 {기간|을} 앞둔 {인물} "
        "씨예요.\n",
        "오늘 {학교} 생활 경제 {강}에서는 선택의 값을 다룹니다. {인물} 씨의 {기간|을} 함께 들여다봅시다.\n",
        "교과서 {쪽|을} 펴 주세요. {학교} 학생이라면 한 번쯤 해 보았을 고민입니다. {기간|을} 어떻게 쓸까 망설이는 {인물} 씨가 오늘의 "
        "주인공이에요.\n",
    ),
    facts=(
        (
            "{인물} 씨 앞에는 일자리가 둘 있어요. {기간} 동안 {좋은일|을} 하면 {좋은값}, {못한일|을} 하면 {못한값|을} 버는데 시간이 겹쳐 "
            "하나만 할 수 있지요.",
            "{인물} 씨는 {못한일|으로} {못한값|을} 벌거나 {좋은일|으로} {좋은값|을} 벌 수 있었어요. 다만 두 가지를 함께 할 시간은 없었습니다.",
            "칠판을 보세요. {기간} 동안 할 수 있는 일은 {좋은일} {좋은값}, {못한일} {못한값} 가운데 하나예요.",
        ),
        (
            "그런데 {인물} 씨는 둘 다 마다하고 수강료 {수강료|을} 내며 {강좌|을} 골랐습니다.\n",
            "고민 끝에 {인물} 씨가 고른 것은 일이 아니라 수강료가 {수강료}인 {강좌}였어요.\n",
            "{인물} 씨의 마음은 {강좌} 쪽으로 기울었어요. 수강료는 {수강료|이지만} 꼭 배우고 싶었대요.\n",
        ),
        (
            "자, 이 선택의 값은 얼마일까요? 못 하게 된 일 가운데 더 나은 쪽의 벌이에 수강료를 보탠 {합}, 이것이 기회비용입니다. "
            "{틀린합|이라고} 답한 {손든수|은} 두 일의 벌이를 다 더했더군요.",
            "기회비용은 {합|이에요}. 어차피 한 가지밖에 못 했을 테니 벌이가 나은 일 하나만 수강료에 더하면 됩니다. {못한값|은} 잊으세요.",
            "{손든수|이} {틀린합|이라고} 손을 들었는데, 포기한 일을 모두 더하면 안 됩니다. 벌이가 나은 하나만 수강료와 더해 {합|으로} "
            "잡아야 해요.",
            "기회비용을 셈할 때는 포기한 것 중 으뜸만 봅니다. 그래서 벌이가 나은 일과 수강료를 합친 {합|이} 정답이지요.",
        ),
    ),
    asides=(
        "{인물} 씨가 지난해 {준비물|을} 사느라 쓴 {준비값|은} 무엇을 고르든 돌아오지 않으니 셈에 넣지 않습니다.",
        "지난 시간에 본 {가게} 주인은 {방값}에 세놓을 수 있는 빈방을 창고로 쓰고 있었지요. 그 {방값|도} 비용이었고요.",
        "무료 공연도 공짜가 아니에요. 한 시간에 {시급|을} 버는 사람이 {줄시간|을} 줄 서서 기다렸다면 그만큼 값을 치른 셈이니까요.",
        "{학생} 학생이 즐거움도 비용이냐고 물었는데, {강좌}에서 얻는 즐거움은 비용이 아니라 편익입니다.",
        "중간시험은 {시험일}이고 오늘 배운 곳에서 {문항|을} 낼 생각이에요.",
        "교과서 {쪽}에는 {가게|을} 차린 사람의 예가 나오니 집에 가서 읽어 보세요.",
        "값이 달라지면 답도 달라져요. {못한일} 벌이가 {틀린합|으로} 뛰었다면 이야기가 바뀌었겠지요.",
        "{학교} 지난해 시험에서도 {문항|이} 여기서 나왔는데, {손든수}만 다 맞혔습니다.",
    ),
    closings=(
        "다음 시간에는 {가게} 이야기로 매몰 비용을 배웁니다. 교과서 {쪽}까지 읽어 오세요.",
        "{시험일} 시험 전에 {강} 연습 문제 {문항|을} 꼭 풀어 보세요.",
        "오늘은 여기까지 하지요. {학생} 학생은 {쪽} 그림을 칠판에 옮겨 그려 주세요.",
    ),
    summaries=(
        "{인물} 씨가 {강좌|을} 고른 기회비용은 {좋은일} 벌이와 수강료를 더한 {합}이다.",
        "{강좌|을} 택한 {인물} 씨의 기회비용은 {좋은일} 벌이에 수강료를 더한 {합|이라고} 설명했다.",
        "{인물} 씨가 {강좌|을} 고를 때의 기회비용을 {좋은일} 벌이와 수강료를 합쳐 {합|으로} 셈했다.",
    ),
    asides_per_document=(2, 4),
    in_order=True,
)

# --- biology: yeast, a student's notes ----------------------------------------------------------------

_SWEET = ("설탕물", "포도당 용액", "꿀물", "사과즙", "포도즙", "배즙", "사탕수수즙", "단풍나무 시럽 물", "엿기름물", "감귤즙")
_MARKS = ("빨간 끈", "파란 끈", "노란 끈", "초록 끈", "흰 끈", "검은 끈", "보라색 끈", "주황색 끈", "분홍 끈", "하늘색 끈")

YEAST = Topic(
    name="효모 실험 필기",
    slots={
        "학교": _HIGH_SCHOOLS,
        "날짜": day(3, 11),
        "학생": person,
        "교사": person,
        "짝": person,
        "실험실": ("생명과학실", "제1 과학실", "제2 과학실", "본관 실험실", "융합 과학실", "3층 실험실", "별관 과학실"),
        "액체": _SWEET,
        "다음액체": other_than("액체", _SWEET),
        "부피": number(100, 400, 20, "ml"),
        "효모": number(3, 15, unit="g"),
        "저온": number(3, 12, unit="℃"),
        "중온": number(32, 38, unit="℃"),
        "고온": number(65, 80, unit="℃"),
        "찬표": _MARKS,
        "중간표": other_than("찬표", _MARKS),
        "뜨거운표": _none_of(("찬표", "중간표"), _MARKS),
        "분": number(25, 60, 5, "분"),
        "중간양": number(88, 196, 2, "ml"),
        "찬양": _share("중간양", 7, 18, "ml"),
        "뜨거운양": number(1, 5, unit="ml"),
        "다시양": _share("중간양", 70, 92, "ml"),
        "작년양": number(60, 86, unit="ml"),
        "흔든수": number(5, 30, 5, "번"),
        "보고서일": _days_after("날짜", 6, 15),
        "쪽수": number(2, 6, unit="쪽"),
        "시험일": _days_after("보고서일", 5, 20),
        "점수": number(10, 30, 5, "점"),
        "산도": _tenths(42, 56),
    },
    openings=(
        "[{날짜} 생명과학 실험 노트]\n장소: {학교} {실험실} / 지도: {교사} 선생님 / 필기: {학생}",
        "{학교} 생명과학 시간 필기 ({날짜}, {학생})\n오늘의 물음: 효모는 언제 숨을 가장 많이 쉬는가",
        "실험 날짜: {날짜}\n모둠: {학생}, {짝}\n곳: {학교} {실험실}\n주제: 효모의 발효와 온도",
    ),
    facts=(
        (
            "1. 방법: 플라스크 세 개에 {액체} {부피|과} 효모 {효모|을} 똑같이 넣고 풍선을 씌움. {찬표|을} 묶은 것은 {저온}, {중간표|은} "
            "{중온}, {뜨거운표|은} {고온} 물에 담금",
            "1. 한 일: {액체} {부피}에 효모 {효모|을} 풀어 플라스크 세 개를 만듦. 물 온도는 {찬표} {저온}, {중간표} {중온}, {뜨거운표} "
            "{고온}",
            "1. 조건: 같은 것은 {액체} {부피}, 효모 {효모}. 다른 것은 온도뿐이며 {뜨거운표} 플라스크 {고온}, {중간표} 플라스크 {중온}, "
            "{찬표} 플라스크 {저온}",
        ),
        (
            "2. 결과: {분} 뒤 풍선에 모인 기체는 {중간표} {중간양}, {찬표} {찬양}, {뜨거운표} {뜨거운양}",
            "2. 결과: {분|을} 기다리니 {중간표} 쪽 풍선이 가장 크게 부풂. 재어 보니 {중간양}. {찬표} 쪽은 {찬양}, {뜨거운표} 쪽은 "
            "{뜨거운양}에 그침",
            "2. 잰 값({분} 뒤): {뜨거운표} {뜨거운양}, {찬표} {찬양}, {중간표} {중간양}. {중간표} 쪽이 단연 많음",
        ),
        (
            "3. 풀이: {뜨거운표} 쪽은 높은 열에 효소의 모양이 망가져 되돌릴 수 없음. {찬표} 쪽은 느리게 일할 뿐이어서 데우자 {다시양}까지 "
            "나옴",
            "3. 왜 그런가: {찬표} 플라스크는 데우니 다시 {다시양|을} 내놓았지만 {뜨거운표} 플라스크는 식혀도 그대로. 열 때문에 효소가 "
            "망가졌기 때문",
            "3. {교사} 선생님 설명: 효소는 단백질이라 뜨거우면 구조가 망가짐. {뜨거운표} 쪽이 그 예이고, {찬표} 쪽은 데우면 살아나 "
            "{다시양|을} 더 냄",
        ),
    ),
    asides=(
        "- 기체는 이산화 탄소. 석회수에 넣고 {흔든수} 흔드니 뿌옇게 흐려짐",
        "- 작년 선배들은 {다음액체|으로} 해서 {작년양|을} 얻었다고 함",
        "- {짝|이} 풍선을 늦게 씌워 처음 {부피}짜리 플라스크는 버리고 새로 만듦",
        "- {액체} 산성도도 재었더니 pH {산도}. 이번 결론에는 쓰지 않음",
        "- 효모를 {효모}보다 많이 넣자는 의견도 있었지만 풍선이 터질까 봐 {교사} 선생님이 말리심",
        "- 시험({시험일})에 오늘 실험에서 {점수|이} 나온다고 하심. 그래프 그리기 연습할 것",
        "- 빵 반죽을 따뜻한 곳에 두는 까닭도 같음. {교사} 선생님은 집에서 {분}쯤 두신다고",
        "- 용어: 발효는 산소 없이 당을 분해하는 일. {액체} 속 당이 알코올과 이산화 탄소로 바뀜",
        "- 온도계 눈금은 {흔든수} 저은 뒤 {실험실} 벽시계를 보며 읽음",
    ),
    closings=(
        "* 보고서: {보고서일}까지 {쪽수}, {교사} 선생님께 제출",
        "* 다음 시간: {다음액체|으로} 한 번 더. 보고서는 {쪽수} 분량으로 {보고서일}까지",
        "* 남은 일: {짝|은} 표 정리, {학생|은} 그래프. {보고서일} 전에 합치기",
    ),
    summaries=(
        "효모는 {액체}에서 {중온}일 때 기체를 {중간양|으로} 가장 많이 냈고 {고온}에서는 효소가 망가졌다.",
        "{액체} 속 효모는 {중온}에서 기체를 {중간양|으로} 가장 많이 내고 {고온}에서는 효소가 망가졌다.",
        "{액체}에 넣은 효모가 {중온}에서 기체 {중간양|을} 내 가장 활발했고 {고온}에서는 효소가 망가졌다.",
    ),
    asides_per_document=(3, 5),
    in_order=True,
    separator="\n",
)

TOPICS: tuple[Topic, ...] = (COFFEE, OPPORTUNITY_COST, YEAST)
