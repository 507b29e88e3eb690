"""What the mixed dataset is written with: instructions, questions, programs, and ten other languages. Only texts."""
# ruff: noqa: RUF001 - what looks like another letter is one of another language

from __future__ import annotations

ASSISTANTS = {
    "a travel desk": (
        "You answer for the travel desk of a company with forty offices. Employees write to you in a "
        "hurry, often from a platform or a gate, so begin with the one thing they have to do next. "
        "Trains are preferred for journeys under five hours. A night train counts as a night in a hotel "
        "and needs no further permission. Flights are booked in economy; for flights of more than nine "
        "hours the head of a department may allow another class, in writing, before the booking. Hotels "
        "must not cost more than 140 a night, breakfast included, except in the twelve cities on the "
        "yellow list, where the limit is 210. Receipts are handed in within thirty days. Never promise "
        "that an exception will be granted; say who decides it and how long the decision takes, which is "
        "two working days. If a journey is disrupted, safety comes first, then sleep, then cost. Do not "
        "give tax advice. Answer in the language of the question, in at most eight sentences, and end "
        "with the number of the rule that you have applied. The rules are numbered: 1 trains, 2 flights, "
        "3 hotels, 4 receipts, 5 disruptions, 6 everything else."
    ),
    "a seed library": (
        "You are the catalogue of a seed library that lends seeds in spring and takes back twice as many "
        "in autumn. Every variety has a card with its name, the year in which it was last grown, the "
        "number of envelopes and a shelf. Beginners are given varieties that come true from seed: beans, "
        "peas, lettuce, tomatoes. Squashes cross with one another over half a kilometre, so nobody gets "
        "more than one kind unless they promise to pollinate by hand. Seeds older than five years are "
        "tested on damp paper before they are lent; of ten grains at least six have to sprout. Cards are "
        "never thrown away, not even when an envelope is empty, because somebody may bring the variety "
        "back. When people ask what to grow, first ask for the height above the sea, the length of the "
        "frost and the width of the window sill, one question at a time. Mention a shelf only if it was "
        "asked for. Measures are metric. If a question is about mushrooms, say kindly that the mushroom "
        "library is on the other side of the yard, open on Thursdays. You may tell how a variety came to "
        "its name, if the card says so, and never invent a story."
    ),
    "a ferry operator": (
        "You write announcements for a ferry line with three ships, the Alder, the Birch and the Cedar. "
        "The Alder carries cars and leaves at every full hour from six to twenty. The Birch carries "
        "people and bicycles and leaves at twenty past. The Cedar is the reserve. Wind of more than 21 "
        "metres a second keeps the Birch in the harbour, more than 26 the Alder. An announcement has "
        "three parts: what happens, until when, and what passengers can do. It names the ship, gives "
        "times with four digits and has no more than 45 words. It never says sorry twice and never gives "
        "a cause that has not been confirmed by the bridge. If passengers have to wait longer than "
        "ninety minutes, the waiting room is opened and tea is free; say so. Dogs travel free, horses "
        "only on the Alder and only before ten. In fog the ships go slowly and arrive up to fifteen "
        "minutes late; that is not worth an announcement. Write in the present tense. Avoid the words "
        "unfortunately, currently and inconvenience. Tickets stay valid for the next day."
    ),
    "a review of programs": (
        "You review changes to programs for a team that values small steps. Read the change from its end "
        "to its beginning, since the end tells what it is for. Look for four things, in this order: does "
        "it do what its title says; what happens when the input is empty, huge or in another order; who "
        "will have to change the code when the next feature comes; is there a test that would fail "
        "without the change. Name at most five findings, the weightiest first. Each finding has the "
        "line, one sentence with the fault, and one with what to do. Praise at most once and only for "
        "something that others can learn from. Formatting is not your business, a tool does that. If you "
        "do not understand a line, ask, and do not guess what was meant. Changes of more than four "
        "hundred lines are returned with a proposal for how to split them. Secrets in the code are "
        "always finding number one: say that they must be revoked, since removing the line is not "
        "enough. Do not rewrite the whole change. End with one word: merge, revise or split."
    ),
}
"""Instructions that several questions share."""

QUESTIONS_TO_ASSISTANTS = {
    "a travel desk": (
        "My connection left without me and the next one goes at six tomorrow. What now?",
        "Can I take a car instead of the train? It is three hours either way.",
        "The only free hotel near the plant is 155 without breakfast. May I book it?",
        "Who can allow business class for the eleven hours to the site in the south?",
        "Ich habe die Quittung vom Taxi verloren. Bekomme ich das Geld trotzdem?",
        "Is the night train paid in full if I also keep my room for the first night?",
    ),
    "a seed library": (
        "I have a balcony to the north and two large pots. What could I borrow?",
        "May I take a pumpkin and a zucchini? My neighbour has a garden, too.",
        "The envelope says seven years. How do I find out whether the beans are still good?",
        "Do you have the blue pea that my grandmother used to grow?",
        "How many seeds do I bring back if I borrowed two envelopes of lettuce?",
        "Which mushrooms grow on coffee grounds?",
    ),
    "a ferry operator": (
        "Wind 23 metres a second until about four in the afternoon.",
        "The Alder has a fault in the ramp; cars cannot board before noon.",
        "Fog since seven, the bridge says ten minutes late all morning.",
        "Both ships stay in the harbour until tomorrow because of the storm.",
        "There is a folk festival on the island and the Birch is full at every departure.",
        "A passenger wants to bring two horses at half past nine and a dog at eleven.",
    ),
    "a review of programs": (
        "Title: faster search. The change sorts the list before every lookup and then walks through it.",
        "Title: add export. 612 lines, of which 480 are a copied library with its tests.",
        "Title: fix rounding. Replaces round(x, 2) by int(x * 100) / 100 in the invoice.",
        "Title: retry on failure. Wraps the payment call in a loop of five attempts without a pause.",
        "Title: configuration. Moves the password of the database from the environment into settings.py.",
        "Title: remove dead code. Deletes a function that is only called by its name in a template.",
    ),
}

SHORT = (
    "Why is the sky red in the evening?",
    "Name three uses for a paper clip that do not involve paper.",
    "What is the difference between weather and climate?",
    "Write a haiku about a slow elevator.",
    "How many minutes are there in a leap year?",
    "Explain compound interest to a ten-year-old.",
    "Give me a polite way to decline a second slice of cake.",
    "Which is heavier, a litre of oil or a litre of water?",
    "Sort these by size: a grain of salt, a virus, a bacterium, a red blood cell.",
    "Suggest a name for a bakery that only opens at night.",
    "What would happen if the moon were twice as close?",
    "Turn this into one sentence: The train was late. It rained. Nobody had an umbrella.",
    "List five words that rhyme with orange, or say why there are none.",
    "How do I get candle wax out of a tablecloth?",
    "Write the first line of a novel that is set in a lighthouse.",
    "What is seven eighths of four hundred and forty?",
    "Who sets the time for the whole world, and how?",
    "Make a packing list for two days in a tent in April.",
    "Is zero an even number? Prove it.",
    "Describe the taste of a lemon without the word sour.",
    "Why do cats knock things off tables?",
    "Translate into plain language: pursuant to the aforementioned clause.",
    "What should I ask before I rent a flat?",
    "Draft a message to a neighbour whose alarm rings every morning at five.",
    "How does a refrigerator make cold?",
    "Which planets have no moons?",
    "Give an example of irony that is not about rain at a wedding.",
    "Continue: Once the last lamp had been switched off, the museum",
    "What is the shortest way to visit all sixteen squares of a four by four board as a knight?",
    "Explain what a hash function is in two sentences.",
    "How long can rice be kept once it is cooked?",
    "I have eggs, leeks and half a lemon. What is for dinner?",
)

CODE = (
    (
        "Find the bug and fix it.",
        """def moving_average(values, width):
    sums = []
    total = 0
    for place, value in enumerate(values):
        total += value
        if place >= width:
            total -= values[place - width + 1]
        sums.append(total / width)
    return sums
""",
    ),
    (
        "What does this print, and why?",
        """def remember(item, seen=[]):
    if item in seen:
        return "again"
    seen.append(item)
    return "new"

print(remember("a"), remember("b"), remember("a"), remember("a", []))
""",
    ),
    (
        "Rewrite this query without the nested select, and say which index would help it.",
        """SELECT c.name, (SELECT count(*) FROM orders o WHERE o.customer = c.id AND o.placed > '2024-01-01') AS orders
FROM customers c
WHERE c.country = 'NO'
  AND c.id IN (SELECT customer FROM orders WHERE total > 100)
ORDER BY orders DESC
LIMIT 20;
""",
    ),
    (
        "Add error handling. The file may be missing, and a line may have no colon.",
        """package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

func main() {
	file, _ := os.Open("settings.txt")
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		parts := strings.SplitN(lines.Text(), ":", 2)
		fmt.Println(parts[0], "=", strings.TrimSpace(parts[1]))
	}
}
""",
    ),
    (
        "Is this safe to call from two threads? If not, make it so.",
        """class Counter {
    private int value;
    private final java.util.Map<String, Integer> names = new java.util.HashMap<>();

    int next(String name) {
        value++;
        names.put(name, names.getOrDefault(name, 0) + 1);
        return value;
    }
}
""",
    ),
    (
        "Explain the lifetimes in this function as if I had never seen Rust.",
        """fn longest<'a>(lines: &'a [String], mark: &str) -> Option<&'a str> {
    lines
        .iter()
        .filter(|line| line.starts_with(mark))
        .map(|line| line.as_str())
        .max_by_key(|line| line.len())
}
""",
    ),
    (
        "Write unit tests for this function, including the odd cases.",
        """function spanOf(times) {
  const sorted = [...times].sort();
  const first = sorted[0];
  const last = sorted[sorted.length - 1];
  return { first, last, minutes: Math.round((last - first) / 60000) };
}
""",
    ),
    (
        "Complete the function. It shall return the words of a text by how often they occur, ties by alphabet.",
        """from collections import Counter


def rank_words(text: str, most: int = 10) -> list[tuple[str, int]]:
    # Lower case, no punctuation at the ends of a word; a hyphen within one stays.
    words =
""",
    ),
    (
        "This script deletes too much when a name has a space in it. Why, and how is it written properly?",
        """#!/bin/sh
for file in $(ls old/*.log); do
  if [ $(wc -l < $file) -gt 1000 ]; then
    gzip -c $file > archive/$(basename $file).gz
    rm -rf $file
  fi
done
""",
    ),
    (
        "What is the complexity of this, and can it be linear?",
        """bool has_pair(const std::vector<int>& numbers, int sum) {
    for (size_t i = 0; i < numbers.size(); ++i)
        for (size_t j = i + 1; j < numbers.size(); ++j)
            if (numbers[i] + numbers[j] == sum) return true;
    return false;
}
""",
    ),
)
"""(What is asked, the program it is asked about)."""

LANGUAGES = (
    (
        "zh",
        "以下是一封写给图书馆的信。",
        "您好！我上个月借了三本书,其中一本《山里的河》在火车上丢了。我问过车站,他们说没"
        "有找到。我愿意赔偿,也愿意买一本新的送来。另外,我想知道下个星期的读书会改到几点"
        ",因为通知上写的是下午三点,网站上写的却是四点。谢谢您的帮助。",
        (
            "请用一句话概括这封信。",
            "写信的人想知道什么?",
            "请替图书馆写一封简短的回信。",
        ),
    ),
    (
        "ja",
        "次の文章は町の掲示板のお知らせです。",
        "来月の第二日曜日に、川沿いの道を掃除します。朝八時に古い橋の前に集まってください"
        "。手袋と袋は町が用意します。雨の場合は次の週に延期します。終わった後、公民館で温"
        "かいお茶とおにぎりが出ます。小さい子どもも参加できますが、必ず大人と一緒に来てください。",
        (
            "集合場所はどこですか。",
            "雨が降ったらどうなりますか。",
            "このお知らせを友達への短いメッセージに書き直してください。",
        ),
    ),
    (
        "ko",
        "다음은 작은 빵집의 안내문입니다.",
        "저희 빵집은 새벽 네 시에 불을 켭니다. 첫 빵은 여섯 시에 나오고, 호밀빵은 수요일과 토요일에만 "
        "굽습니다. 남은 빵은 저녁 일곱 시부터 반값에 팔며, 그래도 남으면 이웃 급식소에 보냅니다. 주문 "
        "빵은 이틀 전에 말씀해 주세요.",
        (
            "호밀빵은 언제 살 수 있나요?",
            "남은 빵은 어떻게 되나요?",
            "이 안내문을 영어로 옮겨 주세요.",
        ),
    ),
    (
        "es",
        "Este es el aviso de una escuela de música.",
        "Las clases empiezan el tercer lunes de septiembre. Quien no tenga instrumento puede alquilar "
        "uno por doce euros al mes; las cuerdas rotas las paga la escuela, los golpes no. El coro ensaya "
        "los jueves a las siete en la sala pequeña, porque en la grande están cambiando las ventanas. "
        "Para el concierto de invierno se buscan tres violas.",
        (
            "¿Cuánto cuesta alquilar un instrumento?",
            "¿Por qué ensaya el coro en la sala pequeña?",
            "Resume el aviso en dos frases.",
        ),
    ),
    (
        "fr",
        "Voici la note d'une gardienne d'immeuble.",
        "L'ascenseur de gauche sera arrêté mardi de neuf heures à midi. Celui de droite continue, mais "
        "il ne monte pas au sixième. Les colis restent chez moi jusqu'à dix-neuf heures, ensuite il faut "
        "attendre le lendemain. Le vélo vert attaché à la rampe depuis mars sera enlevé vendredi si "
        "personne ne le réclame.",
        (
            "Que doit faire une personne qui habite au sixième ?",
            "Quand le vélo sera-t-il enlevé ?",
            "Réécris la note sur un ton plus gai.",
        ),
    ),
    (
        "de",
        "Das ist der Aushang eines Schwimmvereins.",
        "Das Becken ist ab Montag wieder offen, das Wasser hat 24 Grad. Die beiden linken Bahnen gehören "
        "bis acht Uhr den Langstrecken, danach allen. Wer einen Schlüssel zum Geräteraum hat, trägt sich "
        "bitte in die Liste am Eingang ein, denn seit dem Sommer fehlen zwei. Das Fest fällt nicht aus, "
        "es wird in die Turnhalle verlegt.",
        (
            "Welche Bahnen sind um neun Uhr frei?",
            "Warum gibt es die Liste am Eingang?",
            "Fasse den Aushang in einem Satz zusammen.",
        ),
    ),
    (
        "pt",
        "Este é o bilhete de uma feira de bairro.",
        "A feira de sábado muda para a praça de cima enquanto a rua está em obras. Os peixes ficam à "
        "sombra, junto da fonte, e as flores perto da escada. Quem vende queijo precisa de gelo próprio, "
        "porque a praça não tem tomadas. Às treze horas tudo tem de estar limpo, senão no próximo mês "
        "pagamos multa.",
        (
            "Onde ficam os peixes?",
            "De que precisa quem vende queijo?",
            "Escreve o bilhete outra vez como uma lista.",
        ),
    ),
    (
        "ru",
        "Это объявление садового товарищества.",
        "Воду включат в первую субботу мая, если ночью не будет мороза. Ключи от нового колодца у Марии, "
        "участок семнадцать. Ветки складывайте у ворот до десятого числа, потом приедет машина. Собрание "
        "в воскресенье в полдень; обсудим забор и пчёл, которые живут под крышей сторожки.",
        (
            "Когда включат воду?",
            "Что обсудят на собрании?",
            "Перескажи объявление одним предложением.",
        ),
    ),
    (
        "ar",
        "هذا إعلان من مكتبة الحي.",
        "ستفتح المكتبة أبوابها مساء كل ثلاثاء حتى التاسعة. القاعة الكبيرة محجوزة للطلاب في شهر "
        "الامتحانات، أما الصغيرة فللجميع. يمكن استعارة خمسة كتب لثلاثة أسابيع، ومن يتأخر يدفع ثمن كوب "
        "شاي للحارس. نبحث عن متطوعين يقرؤون للأطفال صباح السبت.",
        (
            "كم كتابا يمكن استعارته؟",
            "لمن القاعة الكبيرة في شهر الامتحانات؟",
            "لخص الإعلان في جملة واحدة.",
        ),
    ),
    (
        "hi",
        "यह मोहल्ले की एक सूचना है।",
        "पानी की टंकी की सफ़ाई बुधवार को होगी, इसलिए सुबह छह बजे से दोपहर दो बजे तक पानी नहीं आएगा। "
        "बच्चों का मेला अब रविवार को पुराने बरगद के नीचे लगेगा। जिन लोगों ने कुर्सियाँ दी थीं, वे शाम को "
        "अपनी कुर्सियाँ वापस ले जाएँ।",
        (
            "पानी कब नहीं आएगा?",
            "मेला कहाँ लगेगा?",
            "इस सूचना को दो वाक्यों में लिखिए।",
        ),
    ),
)
"""(Language, what the text is, the text, what is asked about it)."""
