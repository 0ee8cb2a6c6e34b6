// A few documents of a shop that does not exist, and questions that show what an answer can be: quoted,
// in disagreement, and refused.

export const DOCUMENTS = [
  {
    title: "Delivery",
    text: "Orders placed before 2 pm leave our warehouse in Porto on the same working day. Delivery within Portugal takes two working days and costs 3.90 euros. Delivery to other countries of the European Union takes four to six working days and costs 9.50 euros. Delivery is free for orders over 80 euros. We do not deliver outside of the European Union.",
  },
  {
    title: "Returns",
    text: "You may return any unused item within 30 days of delivery. Put it into its original box and print the label from your account. We refund the price within five working days after the parcel has arrived. Knives that were engraved for you cannot be returned.",
  },
  {
    title: "Care of copper pans",
    text: "Our copper pans are lined with tin, which melts at 232 degrees Celsius, so never heat an empty pan. Wash them by hand with a soft sponge. A mixture of lemon juice and salt removes dark spots from the outside. We renew the lining of a pan for 45 euros. The guarantee on copper pans is 25 years and does not cover the lining.",
  },
  {
    title: "Newsletter of spring 2024",
    text: "Our workshop in Rua das Flores is open from Tuesday to Saturday, from 10 am to 6 pm. On the first Saturday of each month Inês shows how a pan is tinned. Until the end of May, delivery within Portugal costs 2.50 euros. The knife course with Rui Almeida takes place on 14 June and has twelve places.",
  },
];

export const QUESTIONS = [
  "How long is the guarantee on copper pans?",
  "How much does delivery within Portugal cost?",
  "Can I return an engraved knife?",
  "Which credit cards do you accept?",
];
