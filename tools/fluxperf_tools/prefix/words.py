"""The words that prompts are made of: our own, or those of the user's text. Knows no tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from fluxperf.errors import UsageError

# Common words, nearly all of which common tokenizers have as one token, with the space before it.
_OURS = """
able above accept account ace across act action active actor add adult advice affair after again age agent agree ahead
aim air all allow almost alone along always amount and animal annual answer ant any ape appear apple apply arc area
argue arm army around arrive art article artist ash aside ask atom attack aunt author autumn average avoid award away
axe baby back bad bag balance ball band bank bar base basic basket bat bath battle bay beach bear beat beauty become
bed bee before beg begin behind believe bell below belt benefit beside best bet better between beyond bid big bill bin
bird birth bit black blade block blood blue board boat body bond bone book border born boss both bottle bottom bow box
boy brain branch brave bread break breath bridge bright bring broad brother brown bug build bun burn bus business busy
butter button buy cab cabin cake call calm camera camp can canal cap capital captain car carbon card care carry case
cash cast castle cat catch cause cell center central century chain chair chance change chapter charge chart cheap
check cheese chest chief child choice choose church circle citizen city civil claim class clay clean clear clerk
clever climate clock close cloth cloud club coach coal coast coat cod code coffee cog cold collect college color
column come common company compare complete concert confirm consider contact contain content contest continue contract
control cook cool cop copper copy corn corner correct cost cotton council count country couple courage course court
cover cow craft cream create credit crew crime crisis crop cross crowd crown cry cub cue culture cup current curve
custom cut cycle daily dam damage dance danger dark data date daughter day dead deal dear debate decade decide deep
deer defend degree delay deliver demand den depend depth describe desert design desk detail develop device diary diet
differ dig dim dinner dip direct dirt discover dish distance divide doctor document dog dollar door dot double doubt
down draft dragon drama draw dream dress drink drive drop dry duck due dug dust duty dye each eager ear early earn
earth ease east easy eat echo edge editor effect effort egg ego eight either elect electric element elf else empire
employ empty end enemy energy engine enjoy enough enter entire equal era error escape essay estate eve even evening
event ever every evidence exact example except exchange exist exit expand expect expert explain express extra eye
fabric face fact factor fail fair faith fall fame family famous fan far farm fast father fault favor fax fear feature
fee feed feel fellow fence festival few field fig fight figure file fill film fin final find fine finger finish fir
fire firm first fish fit five fix flag flame flat flight float floor flow flower fly focus foe fog fold follow food
foot force forest forget form formal forward found four fox frame free fresh friend front fruit fuel full fun fund fur
future gain gallery game gap garden gas gate gather gel gem general gentle get gift gin girl give glad glass globe
goal gold good got govern grain grand grant grass gray great green ground group grow guard guess guest guide guitar
gum gun gut gym habit hair half hall ham hand handle happen happy harbor hard harvest hat have hay head health hear
heart heat heavy height hello help hen her hero hex hid hidden high hill hip his history hit hog hold holiday home
honest honor hop hope horse hospital host hot hotel hour house hub hue hug huge hum human hundred hunt hurry hut ice
idea ill image impact import improve inch include income index industry inform injury ink inn inside insist inspect
instead into invent invite ion iron island issue item its jacket jam jar jaw jet job jog join joint journal journey
joy judge jug juice jump junior just keep key kick kid kin kind king kit kitchen knee knife knock know lab label labor
lack lad lady lake lamp land language lap large last late laugh law lawyer lay layer lead leaf learn least leather
leave lecture led left leg legal lemon lend length less lesson let letter level library lid lie life lift light like
limit line link lion lip list listen literature little live load loan local lock log long look loose lord lose lot
loud love low loyal luck lunch machine mad magazine mail main major make man manage manner manual many map march mark
market marry mass master match material matter maximum may meal mean measure meat medical meet member memory men
mental mention menu merchant message met metal method middle might mile milk mill mind mine minor minute mirror miss
mix mob mobile model modern mom moment money month moon moral more morning most mother motion motor mountain mouse
mouth move much mud mug museum music must mystery name nap narrow nation native nature near neck need neighbor nerve
nest net network never new news next nice night nine noble nod noise none noon nor normal north nose note nothing
notice novel now nun nurse nut oak object observe obtain occur ocean odd off offer office often oil old olive once one
onion open opera opinion oppose opt option orange orb orbit order ore organ origin other our out outside oven over own
owner oxygen pack pad page pain paint pair palace pale pan paper par parent park part party pass past path patient
pattern pause paw pay peace peg pen pencil people pepper perfect perform perhaps period permit person pet phone photo
phrase piano pick picture pie piece pig pilot pin pink pipe pit place plain plan planet plant plastic plate play
please plenty ply pocket pod poem poet point police policy polite pool poor pop popular port position possible post
pot potato pound power practice praise prefer prepare present press pretty prevent price pride priest prime prince
print prison private prize pro problem process produce profit program progress project promise proof proper protect
proud prove provide pub public pull pun pupil pure purple purpose push put quality quantity queen question quick quiet
quite race radio rag rail rain raise ram ran range rap rapid rare rat rate rather raw ray reach react read ready real
reason receive recent record red reduce refer reform refuse region regular relate relax release remain remember remind
remote rent repair repeat reply report request rescue research respect rest result return reveal review reward rib
rice rich rid ride right rim ring rip rise risk river road rob rock rod role roof room root rope rose rot rough round
route row royal rub rug rule rum run rural sad safe sail salad salary salt same sample sand sat save saw say scale
scene school science score screen sea search season seat second secret section secure see seed seek seem select sell
senate send senior sense series serious servant serve set settle seven several sew shade shadow shake shape share
sharp she sheep sheet shelf shell shine ship shirt shoe shop shore short shoulder shout show shut shy side sight sign
silence silk silver similar simple sin since sing single sip sir sister sit site six size ski skill skin sky sleep
slice slide slow sly small smart smell smile smoke smooth snow sob social society soft soil soldier solid solve some
son song soon sort sound soup source south sow soy spa space speak special speech speed spend spirit spoon sport spot
spread spring spy square staff stage stair stamp stand star start state station stay steady steam steel step stick
still stock stone stop store storm story straight strange stream street strength strong student study style sub
subject succeed such sudden sugar suggest suit sum summer sun supply support sure surface surprise sweet swim symbol
system tab table tag tail take tale talk tall tan tank tap tar target task taste tax tea teach team tear tell temple
ten tennis term test text thank theater theory thick thin thing think third thirty thought thousand thread three throw
ticket tide tie tight timber time tin tiny tip tired title toe together tomato tomorrow ton tone tongue tool tooth top
topic total touch tour toward tower town toy track trade traffic train transfer travel treat tree trend trial tribe
trick trip trouble truck true trust truth try tube tug tune turn twelve twenty twice twin two type uncle under uniform
union unique unit unless until up upper upset urban urge use useful usual valley value van variety vast vehicle verb
version very vessel vet via victory video view village violin virtue visit vital voice volume vote vow voyage wage
wait walk wall want war warm warn was wash waste watch water wave way weak wealth weapon wear weather web wed wedding
week weight welcome well west wet wheel when where while whisper white whole why wide wife wig wild will win wind
window wine wing winter wire wise wish wit witness woman wonder wood wool word work world worry worth wrap write wrong
yard year yellow yen yes yesterday yet you young youth zero zip zone zoo
"""
_LEAST_WORDS = 50
# Letters of scripts that put no spaces between words are words of their own.
_WORD = re.compile("[\u2e80-\U0010ffff]|[^\\W\\d_\u2e80-\U0010ffff]+")


def own_words() -> list[str]:
    """The built-in words, each once."""
    return _OURS.split()


def read_corpus(path: Path) -> list[str]:
    """The words of a text in UTF-8 as they stand, so a frequent one is there often. Raises UsageError."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"--corpus {path} cannot be read: {reason}; give a plain text in UTF-8") from None
    words = _WORD.findall(text)
    if len(set(words)) < _LEAST_WORDS:
        raise UsageError(
            f"--corpus {path} has {len(set(words))} different words, and at least {_LEAST_WORDS} are needed, so that "
            "prompts can begin differently; give a longer text"
        )
    return words


def order_starts(words: Sequence[str]) -> list[str]:
    """The different words, ordered so that the first of them differ as early as they can: by letters, in turns."""
    by_letters: dict[str, list[str]] = {}
    for word in dict.fromkeys(words):
        by_letters.setdefault(word[:2], []).append(word)
    groups = list(by_letters.values())
    return [group[turn] for turn in range(max(map(len, groups), default=0)) for group in groups if turn < len(group)]
