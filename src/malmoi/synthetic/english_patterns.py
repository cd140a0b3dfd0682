"""Patterns and words by which parts of English sentences are found: times, places, people, numbers."""

import re

MONTH = r"(?:January|February|March|April|May|June|July|August|September|October|November|December)"
WEEKDAY = r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)days?"
CLOCK = r"(?:\d{1,2}[:.]\d{2}(?:\s?[ap]\.?m\.?)?|\d{1,2}\s?[ap]\.?m\.?|noon|midnight|\d{1,2} o'clock)"
DATE = (
    rf"(?:{WEEKDAY}(?:,? (?:the )?\d{{1,2}}(?:st|nd|rd|th)? (?:of )?{MONTH})?|(?:the )?\d{{1,2}}(?:st|nd|rd"
    rf"|th)? (?:of )?{MONTH}"
    rf"(?:,? \d{{4}})?|{MONTH} \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?|{MONTH}(?:,? \d{{4}})?|1\d{{3}}|20\d{{2}}"
    r"|the \d{4}s|spring|summer|autumn|winter|the (?:morning|afternoon|evening|spring|summer|autumn|winter"
    r"|weekend)|weekdays|weekends)"
)
ONE_TIME = (
    rf"(?:(?:on|in|at|by|until|since|before|after) (?:about |around )?(?:{DATE}|{CLOCK})(?: and (?:{DATE}|{CLOCK}))?"
    rf"|from (?:{DATE}|{CLOCK}|\d{{1,2}}) (?:to|until|till) (?:{DATE}|{CLOCK}|\d{{1,2}})|between (?:{DATE}"
    rf"|{CLOCK}) and (?:{DATE}|{CLOCK})"
    rf"|every (?:day|week|month|year|morning|evening|{WEEKDAY})|tomorrow|yesterday|daily|weekly|next (?:week"
    rf"|month|year|{WEEKDAY})"
    rf"|last (?:week|month|year|{WEEKDAY}))"
)
WHEN = re.compile(rf"(?<![\w-])(?P<time>{ONE_TIME}(?: {ONE_TIME})*)(?![\w:-])(?! (?:and|of|to) )")
LEADING_TIME = re.compile(rf"^(?P<time>{ONE_TIME}(?: {ONE_TIME})*),? (?P<rest>\w.+)$", re.IGNORECASE)
NUMBER = (
    r"(?:\d[\d,.]*\d|\d|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty"
    r"|forty|fifty|(?:a )?hundred)"
)
ABOUT = r"(?:about |around |up to |at least |only |nearly |over |more than )?"
MONEY = rf"(?:[$€£₩]\s?\d[\d,.]*|{NUMBER} (?:euros?|dollars?|pounds?|cents?|won|yen|euro|USD|EUR))"
SPAN = rf"{ABOUT}{NUMBER} (?:seconds?|minutes?|hours?|days?|nights?|weeks?|months?|years?)"
HOW_LONG = re.compile(rf"(?<![\w-])(?P<span>(?:for )?(?P<bare>{SPAN}))(?![\w-])")
HOW_MUCH = re.compile(rf"(?<![\w-])(?P<money>{ABOUT}{MONEY})(?![\w-])")
HOW_MANY = re.compile(
    rf"^(?P<count>{ABOUT}(?P<number>{NUMBER}))(?P<noun>(?: [a-z][a-z-]+){{1,3}}?)(?= (?:in|on|at|for|from|by|of"
    rf"|to|with|and|per|as|when|before|after|every|a|each)\b|$)"
)
UNITS = re.compile(
    r"^(?:seconds?|minutes?|hours?|days?|nights?|weeks?|months?|years?|g|kg|ml|km|m|cm|percent|euros?|dollars?"
    r"|pounds?|won|cents?|times?)$"
)
PLACE = re.compile(
    r"(?<![\w-])(?P<place>(?:in|at|on|near|behind|under|outside|inside|beside|above|below|opposite|next to"
    r"|in front of) "
    r"(?:the |a |an |our |their |your |its |his |her )?(?:room|platform|hall|[A-Z][\w'’-]+"
    r"|[a-z][a-z-]+)(?: (?:of|the|do|de|and)(?= ))*(?: (?:\d+|[A-Z][\w'’-]+|[a-z][a-z-]+)){0,4}?)"
    r"(?=$| (?:on|at|in|from|by|every|for|until|since|with|before|after|during)\b)"
)
PLACE_DETERMINED = re.compile(
    r"^(?:in front of|next to|\w+) (?:the |a |an |our |their |your |its |his |her |room |platform |hall |[A-Z])"
)
PLACE_VERBS = frozenset(
    """be held hold located situated based stored store live stay meet stand lie sit park parked take found
        find kept leave work born sold bought buy bake land arrive wait play displayed served serve built build
        grow grown happen begin start end die buried published hang hung""".split()
)
NO_PLACE = re.compile(
    r"\b(?:time|way|end|cash|total|order|case|fact|part|form|addition|general|particular|advance|charge|average"
    r"|love|need|"
    r"beginning|morning|afternoon|evening|night|day|week|month|year|hand|moment|future|past|sense|role|age|rate"
    r"|level|"
    r"language|english|korean|rest|honou?r|favou?r|memory|condition|card|foot|phone|internet|behalf|basis|list|team|"
    r"account|question|trouble|danger|use|effect|power|war|peace|course|process|response|result|support|line|"
    r"series|film|book|song|version|style|name|number|order|title|position|place of|middle of|turn)\b", re.IGNORECASE
)  # fmt: skip
PERSON = re.compile(r"^(?:(?:Mr|Mrs|Ms|Dr|Prof)\. )?[A-Z][a-z]+(?: [A-Z][a-z]+){0,2}$")
NOT_PERSON = frozenset(
    """The This That These Those There Here Monday Tuesday Wednesday Thursday Friday Saturday Sunday January
        February March April June July August September October November December Students Members Customers
        Visitors Guests Everyone Water Lunch Dinner Breakfast Tickets People Children Parents Police Someone
        Nobody Many Most Some All Both Each Every Another Other Others Several Few Their Our His Her Its My Your
        In On At""".split()
)
ROLE = re.compile(
    r"\b(?:chair|president|captain|manager|teacher|leader|author|director|owner|treasurer|secretary|founder"
    r"|coach|editor|"
    r"organiser|organizer|host|principal|mayor|minister|king|queen|winner|guide|contact|head|trainer"
    r"|conductor)\b(?! \w+ing)"
)
PEOPLE = re.compile(
    r"\b(?:man|woman|person|actor|actress|writer|author|painter|poet|politician|singer|player|composer"
    r"|scientist|physicist|"
    r"mathematician|philosopher|engineer|king|queen|emperor|general|officer|soldier|musician|artist|director"
    r"|footballer|"
    r"novelist|journalist|lawyer|professor|historian|economist|priest|bishop|architect|inventor|explorer"
    r"|athlete|doctor|"
    r"teacher|saint|nun|monk|boxer|cricketer|swimmer|chemist|biologist|businessman|businesswoman|producer"
    r"|rapper|model)\b"
)
ADVERBS = re.compile(r" (?:usually|normally|also|already|always|only|slowly|still|then|just|often)(?= |$)")
OBJECT = re.compile(r"^(?:a|an|the|our) (?:[\w'’-]+ ?){1,4}$")
SECOND = frozenset(
    "is are was were has had will can that which who whose whom when while because but where whether".split()
)
ODD = re.compile(r"[\"“”?!;…()]|:(?!\d\d)")
PARENTHESES = re.compile(r"\s?\([^()]*\)")
