"""Dialogues: friends, families, neighbours, colleagues, shops and offices settle something in talk.

One turn a line. A plan, an order, a price or a date is named, changed, and settled in a later turn, so
the summary follows the talk to its end. Every part of a dialogue is a whole exchange that one side begins
and the other ends; that way small talk can fall between any two of them and the turns still alternate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from contests.mini.generator.drawing import Draw
from contests.mini.generator.particles import final_consonant
from contests.mini.generator.topic import Slot, Topic, Values, day, korean_amount, number, other_than, person
from contests.mini.generator.words import SURNAMES

# --- slots --------------------------------------------------------------------------------------------

_MONTH_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_NATIVE_NUMBERS = ("한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉", "열")

_NAMES = (
    "민준", "서연", "도윤", "하은", "지호", "수빈", "예준", "지민", "시우", "유진", "건우", "다은", "현우", "채원",
    "지훈", "소율", "준서", "은서", "승현", "나연", "태윤", "가은", "동현", "서영", "재민", "혜진", "성훈", "우진",
    "윤아", "세훈", "다인", "규민", "해인", "찬영", "한결", "이슬", "정우", "민서", "도현", "수아", "윤호", "지안",
    "태경", "예린", "성민", "하윤", "보람", "은채", "주원", "시은",
)  # fmt: skip


def _given(draw: Draw, values: Values) -> str:
    """A given name that stands in no other slot of the document."""
    return draw.choose([name for name in _NAMES if name not in values.values()])


def _familiar(name: str) -> Slot:
    """The name in the slot ``name`` as friends say it of a third person: 수빈 -> 수빈이, 지호 -> 지호."""

    def write(draw: Draw, values: Values) -> str:
        return values[name] + ("이" if final_consonant(values[name])[0] else "")

    return write


def _matching(name: str, table: Mapping[str, Sequence[str]]) -> Slot:
    """One of the words that ``table`` holds for the value of the slot ``name``."""
    return lambda draw, values: draw.choose(table[values[name]])


def _neither(names: Sequence[str], words: Sequence[str]) -> Slot:
    """A word of ``words`` that is the value of none of the slots ``names``."""
    return lambda draw, values: draw.choose([word for word in words if word not in {values[n] for n in names}])


def _whole(values: Values, name: str) -> int:
    """The bare whole number in the slot ``name``."""
    return int(values[name])


def _plus(name: str, low: int, high: int, step: int = 1) -> Slot:
    """The bare number in the slot ``name`` plus ``low`` to ``high``."""
    return lambda draw, values: str(_whole(values, name) + draw.between(low, high, step))


def _counted(name: str, unit: str) -> Slot:
    """The bare number in the slot ``name``, from 1 to 10, in native words with ``unit``: ``세 잔``."""
    return lambda draw, values: f"{_NATIVE_NUMBERS[_whole(values, name) - 1]} {unit}"


def _money(name: str, unit: int = 1) -> Slot:
    """The bare number in the slot ``name``, in units of ``unit`` won, as a sum of money."""
    return lambda draw, values: korean_amount(_whole(values, name) * unit, "원")


def _half_hours(text: str) -> int:
    """Half hours since midnight of a time such as ``오후 2시 30분``."""
    hour = int(re.findall(r"\d+", text)[0]) % 12 + (0 if text.startswith("오전") else 12)
    return hour * 2 + text.endswith("30분")


def _clock_text(half_hours: int) -> str:
    """The time ``half_hours`` half hours after midnight, as it is spoken."""
    hour = half_hours // 2
    half = " 30분" if half_hours % 2 else ""
    part = "오전" if hour < 12 else "낮" if hour == 12 else "오후"
    return f"{part} {hour if hour <= 12 else hour - 12}시{half}"


def _time(first_hour: float, last_hour: float) -> Slot:
    """A time of day that stands in no other slot; hours count from 0 to 23, 9.5 is half past nine."""

    def write(draw: Draw, values: Values) -> str:
        times = [_clock_text(half) for half in range(int(first_hour * 2), int(last_hour * 2) + 1)]
        return draw.choose([time for time in times if time not in values.values()])

    return write


def _time_after(name: str, low: int, high: int) -> Slot:
    """The time ``low`` to ``high`` half hours after (negative: before) the one in the slot ``name``."""
    return lambda draw, values: _clock_text(_half_hours(values[name]) + draw.between(low, high))


def _days_after(name: str, low: int, high: int) -> Slot:
    """The date ``low`` to ``high`` days after (negative: before) the date in the slot ``name``."""

    def write(draw: Draw, values: Values) -> str:
        month, date = (int(digits) for digits in re.findall(r"\d+", values[name]))
        days = (sum(_MONTH_LENGTHS[: month - 1]) + date - 1 + draw.between(low, high)) % sum(_MONTH_LENGTHS)
        month = 1
        while days >= _MONTH_LENGTHS[month - 1]:
            days -= _MONTH_LENGTHS[month - 1]
            month += 1
        return f"{month}월 {days + 1}일"

    return write


# --- words that several topics share ------------------------------------------------------------------

_WEEKDAYS = ("월요일", "화요일", "수요일", "목요일", "금요일", "토요일", "일요일")
_WORKDAYS = _WEEKDAYS[:5]
_DISHES = (
    "김치찌개", "비빔국수", "돈가스", "칼국수", "볶음밥", "순두부찌개", "떡국", "만둣국", "쌀국수", "카레", "제육덮밥",
    "김밥", "잔치국수", "오므라이스", "콩나물국밥", "냉면", "짜장면", "샤부샤부", "닭갈비", "해물파전", "초밥", "파스타",
)  # fmt: skip
_BUSY = (
    "시험", "과제", "이사", "아르바이트", "공모전", "발표 준비", "동아리 공연", "자격증 공부", "운전면허 시험", "실습",
    "가게 일", "논문", "봉사 활동", "글쓰기 숙제",
)  # fmt: skip
_STATIONS = (
    "솔숲역", "느티나무역", "무지개역", "물레방아역", "은하수역", "달맞이역", "새벽별역", "징검다리역", "나비정원역",
    "구름재역", "억새역", "호두나무역", "풍차역", "반딧불역",
)  # fmt: skip
_SPOTS = (
    "시립도서관 정문", "호수공원 분수대 앞", "청소년회관 로비", "솔바람미술관 매표소 앞", "중앙시장 입구", "구민회관 앞",
    "단풍길 서점 앞", "느티나무 정류장", "체육관 정문", "박물관 안내대 앞", "강변 자전거 대여소", "꽃시장 주차장",
    "문화회관 계단 앞", "모퉁이 빵집 앞", "우체국 앞", "시계탑 아래",
)  # fmt: skip


def _meeting_place(draw: Draw, values: Values) -> str:
    """A place to meet that stands in no other slot: an exit of a station, or a spot in town."""
    exits = [f"{draw.choose(_STATIONS)} {draw.between(1, 8)}번 출구" for _ in _SPOTS]
    return draw.choose([place for place in (*_SPOTS, *exits) if place not in values.values()])


# --- friends: a plan that is changed twice ------------------------------------------------------------

_ERRANDS = (
    "할머니 댁에 가야 해서", "치과 예약이 있어서", "동생 졸업식이 있어서", "이사하는 누나를 도와야 해서",
    "가족 모임이 생겨서", "아르바이트 대타를 서게 돼서", "학원 보강이 잡혀서", "사촌 결혼식이 있어서",
    "자격증 시험이 있어서", "강아지를 병원에 데려가야 해서", "외삼촌이 오신다고 해서", "봉사 활동이 있어서",
    "집에 수리 기사님이 오기로 해서", "조카를 봐 주기로 해서", "동아리 연습이 생겨서", "집 김장을 도와야 해서",
)  # fmt: skip

FRIENDS_MEET = Topic(
    name="친구의 약속 변경",
    slots={
        "가": _given,
        "나": _given,
        "친구": _given,
        "친구이": _familiar("친구"),
        "활동": (
            "영화 보러", "전시회 보러", "떡볶이 먹으러", "배드민턴 치러", "자전거 타러", "운동화 사러", "도자기 만들러",
            "볼링 치러", "연극 보러", "만화책 읽으러", "스케이트 타러", "사진 찍으러", "빙수 먹으러", "농구 경기 보러",
            "헌책 구경하러", "탁구 치러", "향초 만들러", "공룡 화석 보러",
        ),  # fmt: skip
        "바쁜일": _BUSY,
        "요일1": _WEEKDAYS,
        "요일2": other_than("요일1", _WEEKDAYS),
        "요일3": _neither(("요일1", "요일2"), _WEEKDAYS),
        "시각1": _time(10, 15),
        "시각2": _time_after("시각1", 1, 6),
        "시각3": _time(9, 19),
        "장소1": _meeting_place,
        "장소2": _meeting_place,
        "장소3": _meeting_place,
        "사정": _ERRANDS,
        "일정": other_than("사정", _ERRANDS),
        "음식": _DISHES,
        "벌칙": ("아이스크림", "떡볶이", "음료수", "저녁", "붕어빵", "햄버거", "핫도그", "과자 한 봉지", "김밥", "호떡"),
        "미룬지": ("보름", "3주", "한 달", "두 달", "석 달", "넉 달", "반년"),
        "동네": ("남쪽 동네", "기차역 뒤", "강 건너", "학교 뒷골목", "시장 안쪽", "공원 옆", "언덕 위", "우체국 골목"),
    },
    openings=(
        "{가}: {나|아}, {활동} 가기로 한 거 안 잊었지?\n{나}: 그럼, {바쁜일} 때문에 바빠도 그건 꼭 가야지.",
        "{가}: {나|아}, {바쁜일} 때문에 정신없다더니 이제 좀 괜찮아?\n{나}: 응, 이제 {활동} 갈 시간은 있어.",
        "{가}: 우리 {활동} 가자고 한 지 벌써 {미룬지|이나} 됐어.\n{나}: 맞다, 내가 {바쁜일} 때문에 자꾸 미뤘지. 이번엔 꼭 가자.",
        "{가}: {나|아}, 나 오늘 {바쁜일} 다 끝났어. 이제 {활동} 갈 수 있겠다.\n{나}: 와, 잘됐다. 나도 {미룬지} 전부터 가고 싶었어.",
    ),
    facts=(
        (
            "{가}: 전에 {요일1} {시각1}쯤 보자고 했잖아. 기억나?\n{나}: 응, {장소1}에서 보자고 했지.",
            "{가}: 나 달력에 {요일1} {시각1|이라고} 적어 놨어.\n{나}: 나도 {요일1}에 {장소1}에서 보는 걸로 알고 있어.",
            "{가}: 우리 {장소1}에서 만나기로 했지?\n{나}: 맞아, {요일1} {시각1}에 보기로 했어.",
        ),
        (
            "{가}: 그런데 어쩌지? {요일1}에는 {사정} 못 나가게 됐어.\n{나}: 그럼 {요일2|은} 어때? 나는 그날 종일 비어 있어.\n{가}: {요일2} 괜찮아.\n{나}: 그래, 그럼 그날로 옮기자.",
            "{가}: 미안한데 나 {요일1}에 {사정} 아무래도 힘들겠어.\n{나}: 괜찮아. 그러면 {요일2|으로} 옮기자. {요일3}만 아니면 나는 좋아.",
            "{가}: 나 {요일1}에는 {사정} 곤란해졌어. 다른 날은 안 될까?\n{나}: {요일3}에는 내가 {일정} 안 되고, {요일2|이면} 좋아.\n{가}: 고마워, 그럼 {요일2|으로} 하자.\n{나}: 응, 알았어.",
        ),
        (
            "{가}: 시간은 {시각1} 그대로 할까?\n{나}: {시각1|은} 나한테 좀 일러. {시각2}에 보자. {장소1|은} 머니까 장소도 바꾸고 싶은데.\n{가}: 그럼 {장소2|은} 어때?\n{나}: 거기 좋다.",
            "{가}: 생각해 보니 {장소1|은} 너무 멀다. {장소2|이} 낫지 않아?\n{나}: 좋아, 나도 거기가 편해. 대신 {시각1|은} 이르니까 {시각2|으로} 늦추자.",
            "{가}: 그런데 내가 {시각1}까지 가기는 어렵겠어. {시각2}에 봐도 돼?\n{나}: 돼. 그럼 만나는 데도 {장소1} 말고 {장소2|으로} 바꾸자. {동네|이라} 나는 그게 가까워.",
        ),
    ),
    asides=(
        "{가}: 참, {요일3}에는 비가 많이 온다더라.\n{나}: 그래? 그날 {일정} 나가야 하는데 큰일이네.",
        "{가}: 지난번에 {장소3}에서 한참 기다린 거 생각난다.\n{나}: {시각3}에 온다던 버스가 안 왔잖아.",
        "{가}: {친구이|은} 같이 못 간대?\n{나}: 응, {요일3}까지 {바쁜일} 때문에 꼼짝 못 한대.",
        "{가}: 너 밥은 먹었어?\n{나}: 응, {시각3}에 {음식|을} 먹었더니 배불러.",
        "{가}: {동네}에 새로 생긴 {음식} 집 가 봤어?\n{나}: 아직. {친구이|은} 두 번이나 갔다더라.",
        "{가}: 나 어제 {장소3}에서 {친구|을} 만났어.\n{나}: 진짜? {친구이|은} 요즘 어떻게 지낸대?",
        "{가}: {친구이|은} {요일3}에 {일정} 나간다더라.\n{나}: 그래? 걔도 참 바쁘게 사네.",
    ),
    closings=(
        "{가}: 좋아, 늦는 사람이 {벌칙} 사기다.\n{나}: 하하, 그럼 내가 {벌칙} 얻어먹겠네.",
        "{가}: 그럼 그날 보자. 끝나고 {음식|도} 먹고 오자.\n{나}: 응, {음식} 좋지.",
        "{가}: 응, {친구}한테도 내가 그렇게 말해 둘게.",
    ),
    summaries=(
        "{가|과} {나|은} {요일1} 대신 {요일2} {시각2}에 {장소2}에서 만나기로 했다.",
        "{가|과} {나|은} 약속을 {요일1}에서 {요일2|으로} 바꾸고 {시각2}에 {장소2}에서 보기로 했다.",
        "{가|과} {나|은} 약속을 미뤄 {요일1}이 아닌 {요일2} {시각2}에 {장소2}에서 만난다.",
    ),
    asides_per_document=(0, 1),
    in_order=True,
    separator="\n",
)

# --- a bakery: an order that is corrected -------------------------------------------------------------

_DRINKS = {
    "아메리카노": 3500, "카페라테": 4200, "유자차": 4500, "딸기주스": 5200, "녹차라테": 4800, "코코아": 4300,
    "레모네이드": 4700, "캐모마일차": 4000, "바닐라라테": 4900, "식혜": 3800, "매실차": 4100, "미숫가루": 4400,
    "밀크티": 4600, "자몽주스": 5300, "대추차": 4900, "홍시주스": 5500, "생강차": 4300, "수박주스": 5400,
}  # fmt: skip
_BREADS = {
    "호두파이": 3200, "소금빵": 2800, "단팥빵": 2200, "스콘": 3000, "마들렌": 2100, "크림빵": 2700, "딸기타르트": 5500,
    "달걀샌드위치": 4800, "크루아상": 3300, "고구마빵": 2600, "초코머핀": 3400, "마늘빵": 4200, "찹쌀도넛": 1800,
    "샐러드빵": 3900, "옥수수빵": 3100, "쑥팥빵": 2900, "치즈롤": 3600,
}  # fmt: skip


def _bill(discount: bool) -> Slot:
    """The price of the drinks and the bread, less the discount where ``discount``."""

    def write(draw: Draw, values: Values) -> str:
        drinks = _DRINKS[values["음료"]] * _whole(values, "잔수")
        bread = _BREADS[values["빵"]] * _whole(values, "개수")
        return korean_amount(drinks + bread - (_whole(values, "할인수") if discount else 0), "원")

    return write


BAKERY_ORDER = Topic(
    name="빵집 주문 정정",
    slots={
        "가게": (
            "달무리 찻집", "느린 오후", "고래등 카페", "열두 달 빵집", "솔방울 카페", "산 너머 제과점", "모퉁이 빵집",
            "은빛 나루", "하얀 돛 카페", "첫눈 제과점", "다락방 찻집", "노을빵집", "감나무 카페", "종달새 빵집",
        ),  # fmt: skip
        "음료1": tuple(_DRINKS),
        "음료": other_than("음료1", tuple(_DRINKS)),
        "음료3": _neither(("음료1", "음료"), tuple(_DRINKS)),
        "음료3값": lambda draw, values: korean_amount(_DRINKS[values["음료3"]], "원"),
        "빵": tuple(_BREADS),
        "빵3": other_than("빵", tuple(_BREADS)),
        "빵3값": lambda draw, values: korean_amount(_BREADS[values["빵3"]], "원"),
        "잔수1": number(1, 4),
        "잔수": _plus("잔수1", 1, 3),
        "개수1": number(1, 5),
        "개수": _plus("개수1", 1, 3),
        "잔1": _counted("잔수1", "잔"),
        "잔": _counted("잔수", "잔"),
        "개1": _counted("개수1", "개"),
        "개": _counted("개수", "개"),
        "할인수": lambda draw, values: str(draw.between(500, 2000, 500)),
        "할인": _money("할인수"),
        "정가": _bill(discount=False),
        "합계": _bill(discount=True),
        "까닭": (
            "아이들이 마실 거라서", "어머니가 좋아하셔서", "일행이 바꿔 달래서", "회의에 가져갈 거라서", "두 사람이 더 온대서",
            "동생이 부탁해서", "손님이 늘어서", "선생님들께 드릴 거라서", "이웃과 나눠 먹을 거라서", "친구들이 더 온대서",
        ),  # fmt: skip
        "요일": _WEEKDAYS,
        "닫는때": _time(19, 22),
        "굽는때": _time(9, 17),
        "도장": number(2, 8),
        "벨": number(1, 80),
        "분": number(5, 20),
        "명": number(15, 90, 5),
        "계절": ("봄 들판", "밤바다", "눈 덮인 산", "고양이", "바닷가 마을", "해바라기", "시골 장터", "단풍 든 절"),
        "화가": person,
    },
    openings=(
        "점원: 어서 오세요, {가게}입니다. 오늘은 {음료3|과} {빵3|이} 잘 나가요.",
        "점원: 안녕하세요, {가게}입니다. {요일}에는 {빵3|을} {빵3값}에 드려요.",
        "점원: {가게|을} 찾아 주셔서 감사합니다. {빵3|이} 막 나왔으니 천천히 보세요.",
        "점원: 어서 오세요. {음료3|은} 지금 준비가 안 되는데 {빵3|은} 많이 있어요.",
    ),
    facts=(
        (
            "손님: {음료1} {잔1}하고 {빵} {개1} 주세요.\n점원: 네, {음료1} {잔1}, {빵} {개1} 넣었습니다.",
            "손님: {빵} {개1} 주시고요, 마실 것은 {음료1|으로} {잔1} 부탁드려요.\n점원: {음료1} {잔1|과} {빵} {개1} 맞으시죠?",
            "손님: {음료1} {잔1} 되나요? {빵|도} {개1} 살게요.\n점원: 네, 됩니다. {음료1} {잔1}부터 준비할게요.",
        ),
        (
            "손님: 죄송한데 {까닭} 그러는데요, {음료1|은} 빼고 {음료|으로} 해 주세요.\n점원: 네, {음료|으로} {잔1} 드리면 될까요?\n손님: 아니요, {잔} 주세요.\n점원: 네, 고쳐 넣었습니다.",
            "손님: 저, {음료1|은} 취소할게요. {까닭} {음료|이} 낫겠어요.\n점원: {음료1|은} 뺐습니다. {음료|은} 몇 잔 드릴까요?\n손님: {잔} 주세요.\n점원: 네, {음료} {잔} 넣었어요.",
            "손님: 앗, 마실 것을 바꿔도 될까요? {까닭} {음료1} 말고 {음료|이} 좋겠어요.\n점원: 그럼요. {음료|으로} 바꿔 드릴게요. 그대로 {잔1} 드리면 되나요?\n손님: {잔}으로 늘려 주세요.\n점원: 네, 알겠습니다.",
        ),
        (
            "손님: {빵|은} {개1}로는 모자라겠네요. {개} 담아 주세요.\n점원: 네, {빵} {개} 담을게요. 드시고 가세요?",
            "손님: {빵|도} {개1} 말고 {개}로 고쳐 주시겠어요?\n점원: 네, {빵} {개} 맞으시죠? 그러면 {정가}이에요.",
            "손님: {까닭} {빵|도} {개|은} 있어야겠어요.\n점원: 그럼 {빵} {개1}에서 {개}로 바꿔 넣을게요.",
        ),
        (
            "손님: 다 싸 주세요. 얼마예요?\n점원: {정가}인데 포장하시면 {할인} 빼 드려서 {합계}입니다.",
            "손님: 가져갈 건데 {가게}도 포장하면 깎아 주나요?\n점원: 네, {할인} 깎아 드려요. {정가}에서 빼면 {합계}입니다.",
            "손님: 여기서 먹지 않고 가져갈게요. 모두 {정가}인가요?\n점원: 포장은 {할인} 할인되어서 {합계}만 내시면 됩니다.",
        ),
    ),
    asides=(
        "손님: {음료3|과} {빵3|은} 얼마예요?\n점원: {음료3|은} {음료3값}, {빵3|은} {빵3값}이에요.",
        "손님: {요일}에는 몇 시까지 하세요?\n점원: {요일}에는 {닫는때}까지 열고 {빵3|은} 더 일찍 떨어져요.",
        "손님: 도장 찍어 주시나요?\n점원: 네, 지금까지 {도장}개 모으셨어요. 열 개면 {음료3} 한 잔을 드려요.",
        "손님: {빵3|은} 다 나갔나 봐요.\n점원: 네, {굽는때}에 다시 구우니까 그때는 있을 거예요.",
        "손님: 저번에는 여기서 {음료3|을} 마셨는데 참 맛있었어요.\n점원: 감사합니다. {빵3|과} 같이 드셔도 좋아요.",
        "손님: 벽에 걸린 {계절} 그림이 예쁘네요.\n점원: 우리 손님인 {화가} 씨가 그려 주신 거예요.",
        "손님: 오늘은 {요일|이라} 손님이 많네요.\n점원: 네, 아침부터 벌써 {명}명쯤 다녀가셨어요.",
    ),
    closings=(
        "점원: {벨}번 진동벨이 울리면 오세요. {분}분쯤 걸립니다.",
        "점원: 카드 받았습니다. {벨}번으로 불러 드릴 테니 {분}분만 기다려 주세요.",
        "점원: 영수증 여기 있습니다. {음료|은} {분}분쯤 뒤에 {벨}번으로 불러 드릴게요.",
    ),
    summaries=(
        "손님은 {음료1} 대신 {음료} {잔|과} {빵} {개|을} 포장해 {합계|을} 내기로 했다.",
        "손님은 {음료1|을} 취소하고 {음료} {잔|과} {빵} {개|을} {합계}에 포장하기로 했다.",
        "손님은 {음료1|을} {음료} {잔|으로} 바꾸고 {빵} {개|과} 함께 {합계}에 포장했다.",
    ),
    asides_per_document=(0, 1),
    in_order=True,
    separator="\n",
)

# --- friends: a favour under a condition --------------------------------------------------------------

_LENT_THINGS = {
    "텐트": ("식구들이랑 캠핑을 가게 돼서", "동아리에서 야영을 하기로 해서", "조카랑 하룻밤 바깥에서 자기로 해서"),
    "카메라": ("동생 졸업 사진을 찍어 주기로 해서", "사진 수업을 듣게 돼서", "할머니 칠순 잔치에 가게 돼서"),
    "여행 가방": ("섬 여행을 가게 돼서", "갑자기 출장을 가게 돼서", "외갓집에 한참 가 있게 돼서"),
    "기타": ("축제 무대에 서게 돼서", "친구 결혼식에서 축가를 부르게 돼서", "노래 모임에 나가게 돼서"),
    "자전거": ("강변길을 한번 달려 보고 싶어서", "버스 파업 때문에 학교까지 타고 가야 해서", "조카랑 섬을 돌아보기로 해서"),
    "빔프로젝터": ("옥상에서 영화 모임을 하기로 해서", "마을 발표회를 맡게 돼서", "동아리 상영회를 열게 돼서"),
    "재봉틀": ("연극 의상을 만들게 돼서", "커튼을 줄여야 해서", "벼룩시장에서 앞치마를 팔기로 해서"),
    "전동 드릴": ("책장을 짜게 돼서", "벽에 선반을 달아야 해서", "강아지 집을 만들기로 해서"),
    "한복": ("사촌 결혼식에 가게 돼서", "전통문화 행사에 나가게 돼서", "가족사진을 찍기로 해서"),
    "스키복": ("처음으로 스키장에 가게 돼서", "눈썰매장에 조카를 데려가기로 해서"),
    "아이스박스": ("바닷가로 놀러 가게 돼서", "운동회 도시락을 맡게 돼서", "낚시 모임에 끼게 돼서"),
    "노트북": ("내 컴퓨터가 고장 나서", "도서관에서 보고서를 써야 해서", "온라인 시험을 봐야 해서"),
    "전기 그릴": ("집들이를 하게 돼서", "아버지 생신상을 차리게 돼서", "동창들이 놀러 오기로 해서"),
    "망원경": ("별을 보러 산에 가기로 해서", "조카한테 달을 보여 주기로 해서", "철새를 보러 가게 돼서"),
    "등산 배낭": ("1박 2일로 산에 가게 돼서", "둘레길을 걷기로 해서", "배낭여행을 떠나게 돼서"),
    "보드게임": ("회사 야유회를 가게 돼서", "사촌들이 놀러 오기로 해서", "동아리 모임을 맡게 돼서"),
}

FAVOUR = Topic(
    name="조건이 붙은 부탁",
    slots={
        "가": _given,
        "나": _given,
        "친구": _given,
        "친구이": _familiar("친구"),
        "물건": tuple(_LENT_THINGS),
        "까닭": _matching("물건", _LENT_THINGS),
        "긴기간": ("일주일", "여드레", "열흘", "보름", "2주", "3주"),
        "기간": ("이틀", "사흘", "나흘", "닷새", "엿새"),
        "요일": _WEEKDAYS,
        "요일2": other_than("요일", _WEEKDAYS),
        "요일3": _neither(("요일", "요일2"), _WEEKDAYS),
        "시각": _time(9, 19),
        "조건": (
            "강아지를 산책시켜", "베란다 화분을 돌봐", "고양이 밥을 챙겨", "이삿짐을 같이 옮겨", "방 도배를 도와",
            "동생 수학을 가르쳐", "컴퓨터를 고쳐", "공연 사진을 찍어", "외갓집 청소를 도와", "텃밭 잡초를 뽑아",
            "김장을 거들어", "벽에 거울을 달아", "동생을 역까지 태워다", "자기소개서를 봐", "가게를 대신 봐",
            "책장 조립을 도와", "영어 발표를 봐", "자전거 바퀴를 갈아",
        ),  # fmt: skip
        "사례": ("커피", "저녁", "떡볶이", "치킨", "영화표", "초콜릿", "아이스크림", "과일 한 상자", "피자", "케이크"),
        "쓸일": (
            "동호회 모임", "가족 나들이", "학교 행사", "조카 생일", "회사 모임", "이웃 잔치", "동창 모임", "마을 축제",
            "사촌 집들이", "친척 모임",
        ),  # fmt: skip
        "햇수": ("반년", "1년", "2년", "3년", "4년", "5년"),
        "산곳": ("중고 장터", "동네 할인점", "벼룩시장", "아는 형네 가게", "시장 골목", "온라인 장터", "폐업하는 가게"),
        "값": lambda draw, values: korean_amount(draw.between(40_000, 280_000, 5_000), "원"),
        "음식": _DISHES,
        "바쁜일": _BUSY,
    },
    openings=(
        "{가}: {나|아}, {바쁜일|은} 잘돼 가? 나 부탁할 게 하나 있어서 왔어.\n{나}: 뭐 그럭저럭. 무슨 부탁인데?",
        "{가}: {나|아}, {요일3}에 전화했는데 안 받더라.\n{나}: 아, {바쁜일} 때문에 정신이 없었어. 무슨 일 있어?",
        "{가}: 여보세요, {나|아}? 지금 {바쁜일} 때문에 바빠?\n{나}: 아니, {음식} 먹고 쉬고 있었어. 왜?",
    ),
    facts=(
        (
            "{가}: 내가 {까닭} 그러는데 네 {물건} 좀 빌릴 수 있을까?\n{나}: {물건}? 안 그래도 {쓸일} 때 쓰고 넣어 뒀어.",
            "{가}: 너 {물건} 있지? {까닭} 하루이틀로는 안 될 것 같은데, 빌려줄 수 있어?\n{나}: 있기는 한데, {쓸일} 때 나도 써야 해서.",
            "{가}: {까닭} {물건|이} 필요해. {친구}한테는 없다는데 너는 있지?\n{나}: 응, {쓸일} 때 쓰려고 {산곳}에서 샀지.",
        ),
        (
            "{가}: {긴기간}만 쓰고 돌려줄게.\n{나}: {긴기간|은} 너무 길다. {기간|이면} 몰라도.\n{가}: 그럼 {기간}만 쓸게.\n{나}: 그래, {기간|은} 괜찮아.",
            "{가}: 한 {긴기간}쯤 써도 돼?\n{나}: 그렇게는 안 되고 {기간} 동안은 돼. 그 뒤에 {쓸일|이} 있거든.",
            "{가}: {긴기간} 뒤에 돌려주면 늦을까?\n{나}: 응, 늦어. {쓸일} 전에는 있어야 하니까 {기간}만 쓰고 줘.",
        ),
        (
            "{가}: 고마워. 대신 내가 {사례} 살게.\n{나}: {사례|은} 됐고, {요일}에 {조건} 줘. 그게 조건이야.\n{가}: 그 정도야 얼마든지 하지.\n{나}: 좋아, 그럼 약속했다.",
            "{가}: 빌려주면 {사례|을} 사다 줄까?\n{나}: {사례} 말고, {요일}에 {조건} 주면 빌려줄게.\n{가}: {요일}? 좋아, 그렇게 할게.\n{나}: 그럼 됐어.",
            "{가}: 공짜로 빌리기는 미안한데.\n{나}: 그럼 {요일2|이나} {요일}에 와서 {조건} 줄래?\n{가}: {요일2|은} 내가 안 되고 {요일|은} 돼. 꼭 갈게.\n{나}: 좋아, 그 조건으로 빌려줄게.",
        ),
    ),
    asides=(
        "{가}: 네 {물건|은} 산 지 얼마나 됐어?\n{나}: {햇수}쯤 됐나. {산곳}에서 {값} 주고 샀어.",
        "{가}: {친구이|은} {요일3}에 {쓸일} 간다더라.\n{나}: 응, 나도 들었어. 같이 가자는데 바빠서 못 간다고 했어.",
        "{가}: 점심에 뭐 먹었어?\n{나}: {친구이|이랑} {음식} 먹었는데 {산곳} 옆이라 사람이 많더라.",
        "{가}: 나 지난번에 {친구}한테 빌린 {사례}값도 아직 못 갚았어.\n{나}: 하하, {친구이|은} 벌써 잊었을걸.",
        "{가}: {산곳}에서 {물건} 하나 사려고 했더니 {값|이나} 하더라.\n{나}: 비싸지. 나도 {햇수} 동안 모아서 샀어.",
        "{가}: {요일3}에는 {시각}부터 비가 온대.\n{나}: 그래? {쓸일} 있는 날인데 큰일이네.",
        "{가}: {바쁜일} 끝나면 {친구}네랑 밥 한번 먹자.\n{나}: 좋지. {음식} 잘하는 집을 찾았어.",
    ),
    closings=(
        "{가}: 그럼 {요일3} {시각}쯤 가지러 갈게.\n{나}: 응, 오기 전에 전화해.",
        "{가}: 정말 고마워. 깨끗하게 쓰고 {사례|이라도} 같이 가져올게.",
        "{가}: 역시 {나|이} 최고다.\n{나}: 대신 {친구}한테 또 빌려주지는 마. {값|이나} 주고 산 거야.",
    ),
    summaries=(
        "{나|은} {가|이} {요일}에 {조건} 주는 조건으로 {물건|을} {기간} 동안 빌려주기로 했다.",
        "{가|은} {요일}에 {조건} 주는 대신 {나}에게서 {물건|을} {기간} 동안 빌리기로 했다.",
        "{가|은} {나}의 {물건|을} {기간} 빌리고 {요일}에 {조건} 주기로 했다.",
    ),
    asides_per_document=(0, 1),
    in_order=True,
    separator="\n",
)

TOPICS: tuple[Topic, ...] = (FRIENDS_MEET, BAKERY_ORDER, FAVOUR)
