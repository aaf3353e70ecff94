"""The words of captions: every meaning with the words that stand for it, closed for good."""

# A meaning's first word is the one its token is named after. Words of one meaning share a token.

CHARACTERS: dict[str, tuple[str, ...]] = {
    "rabbit": ("rabbit", "bunny", "rabbits", "bunnies", "hare"),
    "cat": ("cat", "kitty", "kitten", "cats", "kittens"),
    "dog": ("dog", "puppy", "doggy", "dogs", "puppies"),
    "bear": ("bear", "teddy", "bears"),
    "panda": ("panda", "pandas"),
    "fox": ("fox", "foxes"),
    "pig": ("pig", "piggy", "piglet", "pigs"),
    "frog": ("frog", "froggy", "frogs", "toad"),
    "mouse": ("mouse", "mice"),
    "koala": ("koala", "koalas"),
    "lion": ("lion", "lions"),
    "chick": ("chick", "chicken", "chicks"),
    "penguin": ("penguin", "penguins"),
    "owl": ("owl", "owls"),
    "strawberry": ("strawberry", "strawberries"),
    "apple": ("apple", "apples"),
    "egg": ("egg", "eggs"),
    "cupcake": ("cupcake", "muffin", "cupcakes"),
    "avocado": ("avocado", "avocados"),
    "icecream": ("icecream", "gelato"),
    "mushroom": ("mushroom", "toadstool", "mushrooms"),
    "pumpkin": ("pumpkin", "pumpkins"),
    "star": ("star", "stars"),
    "heart": ("heart", "hearts"),
    "cloud": ("cloud", "clouds"),
    "ghost": ("ghost", "ghosts", "spook"),
    "sun": ("sun", "sunshine"),
    "cactus": ("cactus", "cacti"),
    "robot": ("robot", "bot", "robots"),
    "smiley": ("smiley", "emoji"),
    "mug": ("mug", "mugs"),
    "donut": ("donut", "doughnut", "donuts", "doughnuts"),
    "moon": ("moon", "crescent"),
    "thing": ("thing", "sticker", "character", "something", "creature"),
}
COLORS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson"),
    "orange": ("orange",),
    "yellow": ("yellow", "golden"),
    "green": ("green",),
    "teal": ("teal", "turquoise", "cyan"),
    "blue": ("blue",),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rosy"),
    "brown": ("brown",),
    "grey": ("grey", "gray", "silver"),
    "white": ("white",),
    "black": ("black",),
}
MOTIONS: dict[str, tuple[str, ...]] = {
    "bounce": ("bounce", "bounces", "bouncing", "bounced", "bouncy", "boing"),
    "jump": (
        *("jump", "jumps", "jumping", "jumped", "leap", "leaps", "leaping"),
        *("hop", "hops", "hopping"),
    ),
    "wave": (
        *("wave", "waves", "waving", "waved", "hello", "hi", "hey", "bye", "goodbye"),
        *("greet", "greets", "greeting"),
    ),
    "spin": (
        *("spin", "spins", "spinning", "twirl", "twirls", "twirling", "rotate", "rotates"),
        *("rotating", "turn", "turns", "turning", "whirl", "whirls", "whirling", "roll", "rolls"),
        "rolling",
    ),
    "shake": (
        *("shake", "shakes", "shaking", "tremble", "trembles", "trembling", "shiver", "shivers"),
        *("shivering", "shudder", "shuddering"),
    ),
    "pulse": (
        *("pulse", "pulses", "pulsing", "pulsating", "throb", "throbs", "throbbing", "beat"),
        *("beats", "beating"),
    ),
    "walk": (
        *("walk", "walks", "walking", "stroll", "strolls", "strolling", "march", "marches"),
        *("marching", "stepping"),
    ),
    "wobble": (
        *("wobble", "wobbles", "wobbling", "sway", "sways", "swaying", "rock", "rocks"),
        *("rocking", "swing", "swings", "swinging"),
    ),
    "dance": (*("dance", "dances", "dancing", "groove", "grooves", "grooving", "boogie", "disco"),),
    "nod": ("nod", "nods", "nodding", "agree", "agrees", "agreeing", "yes"),
    "cheer": (
        *("cheer", "cheers", "cheering", "celebrate", "celebrates", "celebrating", "hooray"),
        *("hurray", "yay"),
    ),
    "blink": ("blink", "blinks", "blinking", "wink", "winks", "winking"),
}
EXPRESSIONS: dict[str, tuple[str, ...]] = {
    "happy": ("happy", "smiling", "cheerful", "glad"),
    "joy": ("joyful", "laughing", "delighted", "overjoyed"),
    "sad": ("sad", "crying", "unhappy", "tearful"),
    "angry": ("angry", "grumpy", "furious", "mad"),
    "surprised": ("surprised", "shocked", "amazed", "startled"),
    "sleepy": ("sleepy", "tired", "drowsy", "sleeping"),
    "love": ("loving", "lovestruck", "love", "adoring"),
    "cool": ("cool", "sunglasses", "shades"),
}
ACCESSORIES: dict[str, tuple[str, ...]] = {
    "crown": ("crown", "crowns", "tiara"),
    "partyhat": ("partyhat", "hat"),
    "tophat": ("tophat",),
    "bow": ("bow", "ribbon"),
    "glasses": ("glasses", "spectacles"),
    "headphones": ("headphones", "headphone"),
    "trumpet": ("trumpet", "horn"),
    "balloon": ("balloon", "balloons"),
    "flower": ("flower", "flowers"),
    "scarf": ("scarf", "shawl"),
    "heart": CHARACTERS["heart"],
    "star": CHARACTERS["star"],
    "cup": ("cup", "coffee", "tea"),
}
SIDES: dict[str, tuple[str, ...]] = {
    "left": ("left", "leftwards"),
    "right": ("right", "rightwards"),
    "clockwise": ("clockwise",),
    "counterclockwise": ("counterclockwise",),
}
AMPLITUDES: dict[float, tuple[str, ...]] = {
    0.6: ("gently", "softly", "slightly", "gentle", "calmly", "subtly"),
    1.3: ("wildly", "energetically", "strongly", "wild", "excitedly", "madly"),
}
STYLES: dict[str, tuple[str, ...]] = {
    "flat": ("flat", "simple"),
    "gradient": ("gradient", "shaded", "shading"),
    "outline": ("outline", "outlined", "outlines"),
    "pastel": ("pastel", "pastels"),
}
HOLDING = ("holding", "wearing", "carrying", "holds", "wears")  # what follows is an accessory

REWRITES: tuple[tuple[str, str], ...] = (  # several words, or one, become the one word known
    (r"\bice[ -]creams?\b", "icecream"),
    (r"\bparty[ -]hats?\b", "partyhat"),
    (r"\btop[ -]hats?\b", "tophat"),
    (r"\b(?:counter|anti)[ -]?clockwise\b", "counterclockwise"),
    (r"\bfor joy\b", ""),
    (r"\bbow[ -]?ties?\b", "bow"),
)
SILENT = frozenset(  # words that say nothing a sticker shows: neither tokens nor unknown
    """a an the is are am be it its it's his her their my this that who which of in on at to for
    with and as by from up down while some very so little small cute big large tiny good one two
    face expression eyes look looking mood hand hands arm arms head side sides style styles color
    colors colour colours bold thick line lines soft around there everyone along way please
    animate animated animation make makes show me moves moving movement starting first toward
    towards picture drawing image drawn body happily feeling wanting seeming paw
    paws say says saying""".split()
)
